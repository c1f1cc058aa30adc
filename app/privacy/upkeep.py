"""What the worker does beside its jobs for the privacy of shoppers, round after round, in small bites.

A task does one bounded batch a call; between batches others get their turn, and a store that is away costs a round, never the
worker.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from app.errors import Unavailable

ROUND_SECONDS = 600.0
PAUSE_SECONDS = 0.05  # between batches: shoppers write meanwhile
MAX_BATCHES = 20_000  # of one task in one round
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Task:
    """name: completes "upkeep: 120 …". work: one batch; returns how many rows it changed, 0 when nothing is left to do or another
    worker is at it. Raises Unavailable."""

    name: str
    work: Callable[[], Awaitable[int]]


class Upkeep:
    def __init__(self, tasks: Sequence[Task], round_seconds: float = ROUND_SECONDS) -> None:
        self._tasks = tasks
        self._round_seconds = round_seconds

    async def run_forever(self) -> None:
        """Until it is cancelled; a batch is a transaction, so nothing is left half-done."""
        while True:
            await self.run_once()
            await asyncio.sleep(self._round_seconds)

    async def run_once(self) -> dict[str, int]:
        """Every task to its end. Returns rows by task; a task that fails is left for the next round."""
        done = {}
        for task in self._tasks:
            done[task.name] = await self._run(task)
            if done[task.name]:
                log.info("upkeep: %d %s", done[task.name], task.name)
        return done

    async def _run(self, task: Task) -> int:
        total = 0
        try:
            for _ in range(MAX_BATCHES):
                changed = await task.work()
                total += changed
                if not changed:
                    break
                await asyncio.sleep(PAUSE_SECONDS)
        except Unavailable as error:
            log.warning("upkeep waits for the next round (%s): %s", task.name, error.detail)
        except Exception:
            log.exception("upkeep failed (%s)", task.name)
        return total
