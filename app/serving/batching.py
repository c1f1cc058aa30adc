"""Slates that are asked for at the same time are drafted together.

A request that comes alone is drafted at once; those that come while a batch is being made wait for it and are the next. So the batch
grows with the load by itself and nobody waits for company. Bound to one event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

from app.errors import Invalid
from app.serving.draft import Draft
from app.serving.live import LiveSnapshot
from app.serving.pipeline import draft_slates
from app.serving.rules import Asked

MAX_BATCH = 16  # beyond it a slate costs hardly less, and its shopper waits longer

Waiting = tuple[Asked, LiveSnapshot, "asyncio.Future[Draft]"]


@dataclass(slots=True)
class Drafting:
    """executor: where a batch is made. What waits is bounded by the requests that the process has open."""

    executor: Executor
    make: Callable[..., list[Draft | Invalid]] = draft_slates
    max_batch: int = MAX_BATCH
    _waiting: deque[Waiting] = field(default_factory=deque)
    _task: asyncio.Task[None] | None = None

    async def draft(self, asked: Asked, live: LiveSnapshot) -> Draft:
        """Raises Invalid, as `draft_slate`."""
        drafted: asyncio.Future[Draft] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, live, drafted))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work(), name="drafting")
        return await drafted

    async def _work(self) -> None:
        while self._waiting:
            batch = self._take()
            asked, (live, *_) = [one for one, _, _ in batch], [live for _, live, _ in batch]
            made: Sequence[Draft | Exception]
            try:
                made = await asyncio.get_running_loop().run_in_executor(self.executor, self.make, asked, live)
            except Exception as error:  # noqa: BLE001 - each of them shall hear of it
                made = [error] * len(batch)
            for (_, _, drafted), one in zip(batch, made, strict=True):
                if drafted.cancelled():
                    continue
                if isinstance(one, Exception):
                    drafted.set_exception(one)
                else:
                    drafted.set_result(one)

    def _take(self) -> list[Waiting]:
        """The oldest that wait, as far as they read the same snapshot."""
        batch = [self._waiting.popleft()]
        while self._waiting and len(batch) < self.max_batch and self._waiting[0][1] is batch[0][1]:
            batch.append(self._waiting.popleft())
        return batch
