"""`Traces`: what Redis holds of one user beside what it derives from Postgres."""

from __future__ import annotations

import json
from collections.abc import Sequence

from app.stores.redis.client import FAILURES, Server
from app.stores.redis.live_state import RedisLiveState

TIMEOUT_SECONDS = 2.0


class RedisTraces:
    def __init__(self, redis_url: str, live: RedisLiveState, prefix: str = "duoscene") -> None:
        self._server = Server(redis_url, timeout_seconds=TIMEOUT_SECONDS)
        self._live = live
        self._prefix = prefix
        self._refused = f"{prefix}:bridge:refused"

    async def close(self) -> None:
        await self._server.close()

    async def is_reachable(self) -> bool:
        return await self._server.is_reachable()

    async def erase(self, user_id: str, sessions: Sequence[str], lists: Sequence[str]) -> bool:
        is_gone = await self._live.erase(user_id, sessions)
        try:
            pipe = self._server.client.pipeline(transaction=False)
            for list_id in lists:
                pipe.unlink(f"{self._prefix}:l:{list_id}")
            for place in await self._places_of(user_id):
                pipe.xdel(self._refused, place)
            await pipe.execute()
        except FAILURES as error:
            self._server.rest(f"an erasure: {type(error).__name__}")
            return False
        return is_gone

    async def refused(self, user_id: str) -> list[dict[str, object]]:
        """Events of the user that Postgres refused, kept aside for people. Raises Redis's errors."""
        entries = await self._server.client.xrange(self._refused)  # at most MAX_REFUSED
        found = [json.loads(fields[b"e"]) for _, fields in entries]
        return [event for event in found if event.get("user_id") == user_id]

    async def _places_of(self, user_id: str) -> list[bytes]:
        entries = await self._server.client.xrange(self._refused)
        return [place for place, fields in entries if json.loads(fields[b"e"]).get("user_id") == user_id]
