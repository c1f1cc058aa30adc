"""Makes a Redis believable again, and keeps it so.

The key `valid:<layout>` names the server process (its run id) whose states of this layout may be believed. A restarted or emptied server has another
id or no key: one process drops all states and sets it; then trends and exposures are counted anew, and no state waits for that. Besides, each
process remembers what it could not write, and drops those states as soon as Redis answers; and what a killed process left behind between
Postgres and Redis is found in Postgres (`unapplied`) and dropped by any other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Protocol

from app.errors import Unavailable
from app.feedback.state import EventStore, UnappliedGroup
from app.scenarios.scenario import RevisionStore
from app.stores.redis import scripts
from app.stores.redis.client import FAILURES, Server
from app.stores.redis.exposures import ExposureCounts, Exposures
from app.stores.redis.subject import LAYOUT, STATES_OF_ANY_LAYOUT, Subject, subjects
from app.stores.redis.traces import erase_traces
from app.stores.redis.trends import HourlyCounts, Trends

MAX_MISSED = 10_000  # subjects; beyond that everything is dropped
RETRY_SECONDS = 0.25
LOCK_SECONDS = 60
SWEEP_SECONDS = 5.0
LEFT_BEHIND = timedelta(seconds=10)  # a living process has brought its group to Redis, or given up, long before
FIRST_RECOUNT_SECONDS, MAX_RECOUNT_SECONDS = 1.0, 60.0  # between counts that failed or that shoppers wrote beside
MAX_INEXACT = 5  # counts beside writing shoppers: then trends lack a few events at most, and wait for a pause
log = logging.getLogger(__name__)


class EventSource(EventStore, HourlyCounts, ExposureCounts, Protocol):
    """What the live state is derived from."""

    async def unapplied(self, older_than: timedelta) -> Sequence[UnappliedGroup]: ...

    async def shoppers_of(self, group: UnappliedGroup, limit: int) -> list[tuple[str | None, str | None]]: ...


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
        self._missed_everything = False
        self._trends_are_unsure = False
        self._next_sweep = 0.0
        self._next_count = 0.0
        self._count_seconds = FIRST_RECOUNT_SECONDS
        self._doubt: bytes | None = None
        self._num_inexact = 0
        self._writes: bytes | None = None
        self._uncounted = f"{prefix}:uncounted-exposures"
        self._revision = f"{prefix}:rev"
        self.mark = f"{prefix}:valid:{LAYOUT}"

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

    def missed(self, subjects: Iterable[Subject], *, trends: bool = False) -> None:
        """Nobody of this process believes their states until they are dropped. trends: those may be wrong now, too."""
        self._missed_subjects.update(subjects)
        self._trends_are_unsure |= trends
        if len(self._missed_subjects) > MAX_MISSED:
            self.missed_everything()
        self._wanted.set()

    def missed_everything(self) -> None:
        self._missed_everything = True
        self._missed_subjects.clear()
        self._wanted.set()

    async def invalidate(self) -> None:
        """Let every process take the states for stale."""
        await self._server.client.delete(self.mark)
        self._wanted.set()

    async def settle(self) -> None:
        """Until everything that was missed so far is dropped. For a command line, which has nothing else to do."""
        while self._missed_everything or self._missed_subjects or self._dropping or self._trends_are_unsure:  # noqa: ASYNC110
            await asyncio.sleep(RETRY_SECONDS / 5)

    async def _run(self) -> None:
        while self._task is not None:
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
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._seconds_to_next_look()):
                    await self._wanted.wait()

    def _seconds_to_next_look(self) -> float:
        return max(min(self._next_sweep, self._next_count) - time.monotonic(), RETRY_SECONDS)

    async def _repair(self) -> bool:
        if self._missed_everything:
            await self.invalidate()
            self._missed_everything = False
        await self._drop_missed()
        await self._raise_revision()
        if not self.is_valid(await self._server.client.get(self.mark)) and not await self._start_anew():
            return False
        await self._sweep()
        await self._count()
        return True

    async def _raise_revision(self) -> None:
        await self._server.client.eval(scripts.RAISE, 1, self._revision, (await self._revisions.read()).catalogue)

    async def _start_anew(self) -> bool:
        """False: another process is at it."""
        if not await self._server.client.set(f"{self._prefix}:repairing", "1", nx=True, ex=LOCK_SECONDS):
            return False
        try:
            run_id = self._server.run_id
            # The mark of the server before: what was built on its word is not stored. The revision: of a restored database it is lower.
            await self._server.client.delete(self.mark, self._revision)
            await self._raise_revision()
            await self._drop_all()
            await self._doubt_trends()
            await self._server.client.set(self._uncounted, "1")
            await self._server.client.set(self.mark, run_id)
        finally:
            await self._server.client.delete(f"{self._prefix}:repairing")
        log.info("the live state was dropped and is rebuilt as it is read")
        return True

    async def _drop_missed(self) -> None:
        """A subject that is missed again meanwhile stays for the next round."""
        self._dropping |= self._missed_subjects
        self._missed_subjects = set()
        if self._trends_are_unsure:
            await self._doubt_trends()
            self._trends_are_unsure = False
        await self._drop(self._dropping)
        self._dropping = set()

    async def _drop(self, shoppers: Iterable[Subject]) -> None:
        pipe = self._server.client.pipeline(transaction=False)
        for subject in shoppers:
            keys = subject.state_key(self._prefix), subject.generation_key(self._prefix)
            pipe.eval(scripts.FORGET, len(keys), *keys, scripts.GENERATION_TTL_SECONDS)
        await pipe.execute()

    async def _sweep(self) -> None:
        """What died between Postgres and Redis."""
        if time.monotonic() < self._next_sweep:
            return
        self._next_sweep = time.monotonic() + SWEEP_SECONDS
        groups = await self._events.unapplied(LEFT_BEHIND)
        if not groups:
            return
        left: set[Subject] = set()
        for group in groups:
            left.update(Subject("u", name) for name in group.users)
            left.update(Subject("s", name) for name in group.sessions)
            if group.is_erasure:
                await erase_traces(self._server.client, self._prefix, group.users, group.sole_sessions, group.lists)
            elif group.first_seq is not None:
                for user_id, session_id in await self._events.shoppers_of(group, MAX_MISSED + 1):
                    left.update(subjects(user_id, session_id))
        log.info("%d changes may not have come to the live state; %d states are dropped", len(groups), len(left))
        if any(group.first_seq is not None for group in groups):
            await self._doubt_trends()
        if len(left) > MAX_MISSED:
            await self.invalidate()
        else:
            await self._drop(left)
        await self._events.applied([group.group_id for group in groups], older_than=LEFT_BEHIND)

    async def _doubt_trends(self) -> None:
        await self._server.client.set(self._trends.unsure, secrets.token_hex(8))
        self._count_seconds = FIRST_RECOUNT_SECONDS
        self._next_count = 0.0

    async def _count(self) -> None:
        """What is in doubt, by one process at a time and ever more rarely."""
        if time.monotonic() < self._next_count:
            return
        self._next_count = time.monotonic() + self._count_seconds
        doubt, uncounted = await self._server.client.mget(self._trends.unsure, self._uncounted)
        if doubt is None and uncounted is None:
            self._next_count = time.monotonic() + MAX_RECOUNT_SECONDS
            return
        if uncounted is None and not await self._is_worth_a_count(doubt):
            self._next_count = time.monotonic() + SWEEP_SECONDS
            return
        if not await self._server.client.set(f"{self._prefix}:counting", "1", nx=True, ex=LOCK_SECONDS):
            return
        try:
            if uncounted is not None:
                await self._count_exposures()
            if doubt is not None:
                await self._count_trends(doubt)
        finally:
            self._next_count = time.monotonic() + self._count_seconds
            self._count_seconds = min(self._count_seconds * 2, MAX_RECOUNT_SECONDS)
            await self._server.client.delete(f"{self._prefix}:counting")

    async def _is_worth_a_count(self, doubt: bytes) -> bool:
        """Whether the trends are far from right, or nobody has written since the last look."""
        if doubt != self._doubt:
            self._doubt, self._num_inexact = doubt, 0
        before, self._writes = self._writes, await self._server.client.get(self._trends.writes)
        return self._num_inexact < MAX_INEXACT or self._writes == before

    async def _count_exposures(self) -> None:
        try:
            await self._exposures.rebuild(self._events)
        except Unavailable as error:
            log.warning("exposures cannot be counted yet: %s", error)
        else:
            await self._server.client.delete(self._uncounted)

    async def _count_trends(self, doubt: bytes) -> None:
        try:
            is_exact = await self._trends.count_anew(self._events)
        except Unavailable as error:
            log.warning("trends cannot be counted yet: %s", error)
            return
        if is_exact:
            await self._server.client.eval(scripts.DELETE_IF, 1, self._trends.unsure, doubt)
        else:
            self._num_inexact += 1

    async def _drop_all(self) -> None:
        keys = []
        async for key in self._server.client.scan_iter(match=f"{self._prefix}:{STATES_OF_ANY_LAYOUT}", count=1000):
            keys.append(key)
            if len(keys) >= 1000:
                await self._server.client.unlink(*keys)
                keys.clear()
        if keys:
            await self._server.client.unlink(*keys)
