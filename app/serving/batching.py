"""Slates that are asked for at the same time are drafted together.

A request that comes alone is drafted at once; those that come while a batch is being made wait for it and are the next. So the batch
grows with the load by itself, and nobody waits for company but for shoppers whose state is being read already. Batches that are made in
moments are made on the event loop: a thread takes turns with it for the interpreter, which costs both more than it gives. Bound to one
event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from time import perf_counter

from app.errors import Invalid
from app.serving.draft import Draft
from app.serving.live import LiveSnapshot
from app.serving.pipeline import draft_slates
from app.serving.rules import Asked

MAX_BATCH = 32  # more would keep a slow processor busy for longer than a read of Redis may take
LOOP_SECONDS = 0.03  # what takes longer leaves the event loop to others
COMPANY_SECONDS = 0.001  # what a batch waits at most for those who are coming: as long as a read takes
MEMORY = 0.8  # of what slates took before, at each batch

Waiting = tuple[Asked, LiveSnapshot, "asyncio.Future[Draft]"]
Made = Sequence[Draft | Exception]


@dataclass(slots=True)
class Drafting:
    """executor: where long batches are made. num_coming: requests inside `coming`. What waits is bounded by the requests that the process
    has open."""

    executor: Executor
    make: Callable[..., list[Draft | Invalid]] = draft_slates
    max_batch: int = MAX_BATCH
    num_coming: int = 0
    _waiting: deque[Waiting] = field(default_factory=deque)
    _task: asyncio.Task[None] | None = None
    _all_came: asyncio.Event = field(default_factory=asyncio.Event)
    _slate_seconds: float = LOOP_SECONDS

    @contextlib.contextmanager
    def coming(self) -> Iterator[None]:
        """Around the reading of a shopper: batches wait a moment for it, because a draft is asked for behind it as a rule."""
        self.num_coming += 1
        try:
            yield
        finally:
            self.num_coming -= 1
            if self.num_coming == 0:
                self._all_came.set()

    async def draft(self, asked: Asked, live: LiveSnapshot) -> Draft:
        """Raises Invalid, as `draft_slate`."""
        drafted: asyncio.Future[Draft] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, live, drafted))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work(), name="drafting")
        return await drafted

    async def _work(self) -> None:
        while self._waiting:
            await self._company()
            batch = self._take()
            asked, (live, *_) = [one for one, _, _ in batch], [live for _, live, _ in batch]
            for (_, _, drafted), one in zip(batch, await self._made_or_why_not(asked, live), strict=True):
                if drafted.cancelled():
                    continue
                if isinstance(one, Exception):
                    drafted.set_exception(one)
                else:
                    drafted.set_result(one)
            await asyncio.sleep(0)  # those are answered

    async def _company(self) -> None:
        if self.num_coming and len(self._waiting) < self.max_batch:
            self._all_came.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(COMPANY_SECONDS):
                    await self._all_came.wait()

    def _take(self) -> list[Waiting]:
        """The oldest that wait, as far as they read the same snapshot."""
        batch = [self._waiting.popleft()]
        while self._waiting and len(batch) < self.max_batch and self._waiting[0][1] is batch[0][1]:
            batch.append(self._waiting.popleft())
        return batch

    async def _made_or_why_not(self, asked: Sequence[Asked], live: LiveSnapshot) -> Made:
        """Where a batch fails, each alone: whoever broke it hears of it, and nobody else."""
        try:
            return await self._made(asked, live)
        except Exception as error:  # noqa: BLE001 - for the one who asked
            if len(asked) == 1:
                return [error]
            return [made for one in asked for made in await self._made_or_why_not([one], live)]

    async def _made(self, asked: Sequence[Asked], live: LiveSnapshot) -> Made:
        num, begin = len(asked), perf_counter()
        if num * self._slate_seconds < LOOP_SECONDS:
            made = self.make(asked, live)
        else:
            made = await asyncio.get_running_loop().run_in_executor(self.executor, self.make, asked, live)
        self._slate_seconds += (1 - MEMORY) * ((perf_counter() - begin) / num - self._slate_seconds)
        return made
