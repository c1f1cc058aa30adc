"""Makes a Redis believable again.

The key `valid` names the server process (its run id) whose states may be believed. A restarted or emptied server has another
id or no key: one process drops all states, rebuilds trends and exposures and sets it. Besides, each process remembers what it could not
write, and drops those states as soon as Redis answers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable
from typing import Protocol

from app.errors import Unavailable
from app.feedback.event import Event
from app.feedback.state import EventStore
from app.scenarios.scenario import RevisionStore
from app.stores.redis import scripts
from app.stores.redis.client import FAILURES, Server
from app.stores.redis.exposures import ExposureCounts, Exposures
from app.stores.redis.subject import PARTS, Subject
from app.stores.redis.trends import HourlyCounts, Trends

MAX_MISSED = 10_000  # subjects or events; beyond that everything is dropped
RETRY_SECONDS = 0.25
LOCK_SECONDS = 60
log = logging.getLogger(__name__)


class EventSource(EventStore, HourlyCounts, ExposureCounts, Protocol):
    """What the live state is derived from."""


class Repair:
    def __init__(
        self, server: Server, trends: Trends, exposures: Exposures, events: EventSource, revisions: RevisionStore, prefix: str,
    ) -> None:  # fmt: skip
        self._server = server
        self._trends = trends
        self._exposures = exposures
        self._events = events
        self._revisions = revisions
        self._prefix = prefix
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._missed_subjects: set[Subject] = set()
        self._dropping: set[Subject] = set()
        self._missed_events: list[Event] = []
        self._missed_everything = False
        self.mark = f"{prefix}:valid"

    def start(self) -> None:
        self._wanted.set()
        self._task = asyncio.create_task(self._run(), name="live state repair")

    async def close(self) -> None:
        task, self._task = self._task, None
        while task is not None and not task.done():  # a driver may answer a cancellation with an error of its own
            task.cancel()
            await asyncio.wait([task], timeout=0.2)

    def is_valid(self, mark: bytes | None) -> bool:
        """mark: value of the key `mark`. False wakes the repair."""
        if mark is not None and mark.decode() == self._server.run_id and not self._missed_everything:
            return True
        self._wanted.set()
        return False

    def has_missed(self, subjects: Iterable[Subject]) -> bool:
        return self._missed_everything or bool((self._missed_subjects | self._dropping).intersection(subjects))

    def missed(self, subjects: Iterable[Subject], events: Collection[Event] = ()) -> None:
        """Nobody of this process believes their states until they are dropped."""
        self._missed_subjects.update(subjects)
        self._missed_events.extend(events)
        if max(len(self._missed_subjects), len(self._missed_events)) > MAX_MISSED:
            self.missed_everything()
        self._wanted.set()

    def missed_everything(self) -> None:
        self._missed_everything = True
        self._missed_subjects.clear()
        self._missed_events.clear()
        self._wanted.set()

    async def invalidate(self) -> None:
        """Let every process take the states for stale."""
        await self._server.client.delete(self.mark)
        self._wanted.set()

    async def _run(self) -> None:
        while True:
            await self._wanted.wait()
            if self._task is None:
                return
            self._wanted.clear()
            try:
                is_done = await self._repair()
            except (*FAILURES, Unavailable) as error:
                log.info("the live state cannot be repaired yet: %s", error)
                is_done = False
            except Exception:
                log.exception("the live state could not be repaired")
                is_done = False
            if not is_done:
                await asyncio.sleep(RETRY_SECONDS)
                self._wanted.set()

    async def _repair(self) -> bool:
        if self._missed_everything:
            await self.invalidate()
            self._missed_everything = False
        await self._drop_missed()
        await self._server.client.eval(
            scripts.RAISE, 1, f"{self._prefix}:rev", (await self._revisions.read()).catalogue
        )
        if self.is_valid(await self._server.client.get(self.mark)):
            return True
        if not await self._server.client.set(f"{self._prefix}:repairing", "1", nx=True, ex=LOCK_SECONDS):
            return False  # another process is at it
        try:
            run_id = self._server.run_id
            await self._drop_all()
            await self._trends.rebuild(self._events)
            await self._exposures.rebuild(self._events)
            await self._server.client.set(self.mark, run_id)
        finally:
            await self._server.client.delete(f"{self._prefix}:repairing")
        log.info("the live state was dropped and is rebuilt as it is read")
        return True

    async def _drop_missed(self) -> None:
        """A subject that is missed again meanwhile stays for the next round."""
        self._dropping |= self._missed_subjects
        self._missed_subjects = set()
        pipe = self._server.client.pipeline(transaction=False)
        for subject in self._dropping:
            pipe.eval(scripts.FORGET, len(PARTS), *subject.keys(self._prefix), scripts.GENERATION_TTL_SECONDS)
        events = list(self._missed_events)
        self._trends.add(pipe, events)
        await pipe.execute()
        self._dropping = set()
        del self._missed_events[: len(events)]

    async def _drop_all(self) -> None:
        for kind in (kind + part for kind in "us" for part in PARTS if part != "g"):
            keys = []
            async for key in self._server.client.scan_iter(match=f"{self._prefix}:{kind}:*", count=1000):
                keys.append(key)
                if len(keys) >= 1000:
                    await self._server.client.unlink(*keys)
                    keys.clear()
            if keys:
                await self._server.client.unlink(*keys)
