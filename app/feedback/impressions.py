"""Shown slates on their way to the store: never in the way of a request, never without bound."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from app.errors import Unavailable
from app.feedback.event import Impression
from app.feedback.state import ImpressionSink
from app.observability.metrics import record_dropped_impressions

GROUP_SIZE = 500
PAUSE_SECONDS = 0.2  # from one group to the next: a group costs as much as 30 slates in it. The first slate after a pause goes at once
RETRY_SECONDS = 1.0
CLOSE_SECONDS = 5.0
log = logging.getLogger(__name__)
Shown = Callable[[Sequence[Impression]], Awaitable[None]]


class ImpressionWriter:
    """One for each process, between `start` and `close`. shown: the live state's side, told once a group is stored.

    max_pending: impressions kept while the store is away; then the newest are dropped and counted in `dropped`.
    """

    def __init__(self, sink: ImpressionSink, max_pending: int = 10_000, shown: Shown | None = None) -> None:
        self._sink = sink
        self._shown = shown
        self._max_pending = max_pending
        self._waiting: deque[Impression] = deque()
        self._arrived = asyncio.Event()
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.dropped = 0
        self.written = 0

    @property
    def pending(self) -> int:
        return len(self._waiting)

    async def start(self) -> None:
        self._task = asyncio.create_task(self._write_groups(), name="impression writer")

    async def close(self) -> None:
        """Write what waits, for CLOSE_SECONDS at most."""
        task, self._task = self._task, None
        self._arrived.set()
        self._closing.set()
        if task is not None:
            await asyncio.wait([task], timeout=CLOSE_SECONDS)
            while not task.done():  # a driver may answer a cancellation with an error of its own
                task.cancel()
                await asyncio.wait([task], timeout=0.2)
        if self._waiting:
            self._drop(len(self._waiting), "the store was away while the service shut down")
            self._waiting.clear()

    def write(self, impression: Impression) -> None:
        """Returns at once."""
        if len(self._waiting) >= self._max_pending:
            self._drop(1, f"{self._max_pending} wait already")
            return
        self._waiting.append(impression)
        self._arrived.set()

    def _drop(self, count: int, why: str) -> None:
        if self.dropped // 1000 != (self.dropped + count) // 1000 or not self.dropped:
            log.warning("impressions are dropped (%d so far): %s", self.dropped + count, why)
        self.dropped += count
        record_dropped_impressions(count)

    async def _write_groups(self) -> None:
        while self._waiting or self._task is not None:
            if not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            group = [self._waiting.popleft() for _ in range(min(GROUP_SIZE, len(self._waiting)))]
            await self._write(group)
            if len(self._waiting) < GROUP_SIZE:
                await self._pause()

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PAUSE_SECONDS):
                await self._closing.wait()

    async def _write(self, group: list[Impression]) -> None:
        try:
            await self._sink.write(group)
            self.written += len(group)
            if self._shown is not None:
                await self._shown(group)
        except Unavailable:
            self._waiting.extendleft(reversed(group))
            await asyncio.sleep(RETRY_SECONDS)
        except asyncio.CancelledError:
            self._waiting.extendleft(reversed(group))
            raise
        except Exception as error:  # noqa: BLE001 - the edge of a loop that must live on
            if len(group) == 1:
                self._drop(1, f"the store refused one: {error}")
                return
            for shown in group:
                await self._write([shown])
