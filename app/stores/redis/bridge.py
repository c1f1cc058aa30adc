"""`EventBridge` as a Redis stream: where events wait while Postgres is away.

Durable means: on disk before the reply. Redis 7.2 and later are asked for it by WAITAOF; an older one must run with
`appendonly yes` and `appendfsync always` (the embedded one does). A server that can promise neither is refused, and so is one
that may throw keys away for lack of memory.

Keys: the stream `bridge`, one entry an event; `bridge:ids`, the event ids it holds; for each shopper a set of history entries,
from which `live_state` lets them see their own events before Postgres has them; `bridge:refused`, what Postgres did not take.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from redis.exceptions import ResponseError

from app.errors import Invalid, Unavailable
from app.feedback.event import Event
from app.stores.redis.client import FAILURES, Server
from app.stores.redis.subject import dump_entry, subjects, to_entry

WRITE_SECONDS = 2.0
FSYNC_MS = 1_500
EVENTS_PER_SCRIPT = 200  # about a millisecond of Redis
MAX_REFUSED = 1_000
FIRST_WITH_WAITAOF = (7, 2)
log = logging.getLogger(__name__)

# KEYS stream, ids; ARGV most entries, then for each event its id, its JSON, its history entry ("" for an impression), its
# time, and two keys of bridged entries ("" for none). All or nothing. Returns the ids that are new.
KEEP = """
if redis.call('XLEN', KEYS[1]) + (#ARGV - 1) / 6 > tonumber(ARGV[1]) then return redis.error_reply('BACKLOG full') end
local new = {}
for i = 2, #ARGV, 6 do
  if redis.call('SADD', KEYS[2], ARGV[i]) == 1 then
    redis.call('XADD', KEYS[1], '*', 'e', ARGV[i + 1])
    for k = i + 4, i + 5 do
      if ARGV[k] ~= '' and ARGV[i + 2] ~= '' then redis.call('ZADD', ARGV[k], ARGV[i + 3], ARGV[i + 2]) end
    end
    new[#new + 1] = ARGV[i]
  end
end
return new
"""

# KEYS stream, ids; ARGV for each entry its place in the stream, its event id, its history entry and two keys as above
REMOVE = """
for i = 1, #ARGV, 5 do
  redis.call('XDEL', KEYS[1], ARGV[i])
  redis.call('SREM', KEYS[2], ARGV[i + 1])
  for k = i + 3, i + 4 do
    if ARGV[k] ~= '' then redis.call('ZREM', ARGV[k], ARGV[i + 2]) end
  end
end
return 1
"""

# KEYS lock; ARGV owner, milliseconds
LEASE = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""


class RedisBridge:
    """max_events: held at most. A server of its own connections, so that waiting for the disk holds nobody else."""

    def __init__(self, redis_url: str, *, max_events: int, prefix: str = "duoscene") -> None:
        self._server = Server(redis_url, timeout_seconds=WRITE_SECONDS)
        self._prefix = prefix
        self._stream, self._ids = f"{prefix}:bridge", f"{prefix}:bridge:ids"
        self._max_events = max_events
        self._checked_run_id = ""
        self._waits_for_disk = False

    async def close(self) -> None:
        await self._server.close()

    async def append(self, events: Sequence[Event]) -> set[str]:
        given = [self._row(event) for event in events]
        try:
            await self._check_server()
            new = await self._keep([value for row in given for value in row])
        except ResponseError as error:
            if "BACKLOG" in str(error):
                raise Unavailable(
                    f"the database is away and {self._max_events} events wait for it; send again later",
                    code="backlog_full", retry_after_seconds=5,
                ) from error  # fmt: skip
            raise away(error) from error
        except FAILURES as error:
            raise away(error) from error
        return {event_id.decode() for event_id in new}

    async def _keep(self, values: list[str | float]) -> list[bytes]:
        """One connection, because WAITAOF speaks of the writes of its own."""
        pipe = self._server.client.pipeline(transaction=False)
        pipe.eval(KEEP, 2, self._stream, self._ids, self._max_events, *values)
        if self._waits_for_disk:
            pipe.execute_command("WAITAOF", 1, 0, FSYNC_MS)
        new, *synced = await pipe.execute()
        if self._waits_for_disk and int(synced[0][0]) < 1:
            raise Unavailable("the events could not be brought to disk; send them again", code="store_unavailable")
        return list(new)

    async def _check_server(self) -> None:
        """Once for each server process. Raises Unavailable for one whose yes would mean nothing."""
        client = self._server.client
        if await client.ping() and self._server.run_id == self._checked_run_id:
            return
        run_id = self._server.run_id
        version = tuple(int(part) for part in (await client.info("server"))["redis_version"].split(".")[:2])
        persistence, memory = await client.info("persistence"), await client.info("memory")
        self._waits_for_disk = version >= FIRST_WITH_WAITAOF
        is_always = self._waits_for_disk or (await client.config_get("appendfsync")).get("appendfsync") == "always"
        if not int(persistence["aof_enabled"]) or not is_always:
            raise Unavailable("the database is away, and this Redis does not keep events on disk")
        if int(memory.get("maxmemory", 0)) and str(memory.get("maxmemory_policy")).startswith("allkeys"):
            raise Unavailable("the database is away, and this Redis may drop events when its memory is full")
        self._checked_run_id = run_id

    async def oldest(self, limit: int) -> list[tuple[str, Event]]:
        try:
            entries = await self._server.client.xrange(self._stream, count=limit)
        except FAILURES as error:
            raise away(error) from error
        return [(place.decode(), load_event(fields[b"e"])) for place, fields in entries]

    async def remove(self, handles: Sequence[tuple[str, Event]]) -> None:
        pipe = self._server.client.pipeline(transaction=False)
        for start in range(0, len(handles), EVENTS_PER_SCRIPT):
            values = [
                value
                for place, event in handles[start : start + EVENTS_PER_SCRIPT]
                for value in (place, event.event_id, dump_entry(to_entry(event)), *self._shopper_keys(event))
            ]
            pipe.eval(REMOVE, 2, self._stream, self._ids, *values)
        try:
            await pipe.execute()
        except FAILURES as error:
            raise away(error) from error

    async def refuse(self, handle: tuple[str, Event], why: str) -> None:
        row = {"e": dump_event(handle[1]), "why": why}
        pipe = self._server.client.pipeline()
        pipe.xadd(f"{self._stream}:refused", row)
        pipe.xtrim(f"{self._stream}:refused", maxlen=MAX_REFUSED, approximate=False)
        try:
            _, num_dropped = await pipe.execute()
        except FAILURES as error:
            raise away(error) from error
        if num_dropped:
            log.error("%d of the oldest refused events are gone: %d are kept aside", num_dropped, MAX_REFUSED)
        await self.remove([handle])

    async def length(self) -> int:
        try:
            return int(await self._server.client.xlen(self._stream))
        except FAILURES as error:
            raise away(error) from error

    async def lease(self, owner: str, seconds: float) -> bool:
        try:
            return bool(
                await self._server.client.eval(LEASE, 1, f"{self._stream}:drainer", owner, round(seconds * 1000))
            )
        except FAILURES as error:
            raise away(error) from error

    def _row(self, event: Event) -> tuple[str, str, str, float, str, str]:
        document = dump_event(event)
        if "\\u0000" in document and has_nul(event):
            raise Invalid("the database cannot hold a value: text with NUL", code="bad_value")
        entry = "" if event.type == "impression" else dump_entry(to_entry(event))
        return event.event_id, document, entry, event.occurred_at.timestamp(), *self._shopper_keys(event)

    def _shopper_keys(self, event: Event) -> tuple[str, str]:
        keys = [subject.bridged_key(self._prefix) for subject in subjects(event.user_id, event.session_id)]
        return (*keys, "", "")[0], (*keys, "", "")[1]


def dump_event(event: Event) -> str:
    values = dataclasses.asdict(event) | {"occurred_at": event.occurred_at.isoformat()}
    return json.dumps({name: value for name, value in values.items() if value is not None})


def load_event(document: bytes) -> Event:
    values: dict[str, Any] = json.loads(document)
    return Event(**values | {"occurred_at": datetime.fromisoformat(values["occurred_at"])})


def has_nul(node: object) -> bool:
    """A NUL itself, not the six characters that stand for one."""
    if isinstance(node, Event):
        return any(has_nul(getattr(node, field.name)) for field in dataclasses.fields(node))
    if isinstance(node, str):
        return "\0" in node
    if isinstance(node, dict):
        return any(has_nul(key) or has_nul(value) for key, value in node.items())
    return isinstance(node, list) and any(has_nul(value) for value in node)


def away(error: BaseException) -> Unavailable:
    return Unavailable(f"neither the database nor Redis can take events ({type(error).__name__}); send them again",
                       code="store_unavailable")  # fmt: skip
