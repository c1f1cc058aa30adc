"""Waiting for somebody else no longer than agreed, without stopping what was begun.

A cancelled driver may take seconds to notice (asyncpg asks the server to cancel, and a hung server does not answer), so nobody
here waits for a cancellation: the work is left to its own time limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

SLICES = 10  # a wait is made of so many: where a busy process turns its event loop slowly, each gives it a turn
T = TypeVar("T")


class Hold(Protocol):
    """Waits for the database while it shows signs of life, and `seconds` at most. Raises Unavailable."""

    async def __call__(self, work: Coroutine[Any, Any, T], seconds: float) -> T: ...


async def hold_on(work: Coroutine[Any, Any, T], seconds: float) -> T:
    """As long as it takes: where nobody waits for an answer."""
    return await work


async def settles(work: asyncio.Task[T], seconds: float) -> bool:
    """Whether the work ends within `seconds`; it goes on either way."""
    for _ in range(SLICES):
        await asyncio.wait([work], timeout=seconds / SLICES)
        if work.done():
            return True
    return False


async def within(work: Coroutine[Any, Any, T], seconds: float) -> T:
    """The result of the work, or TimeoutError after `seconds` at most."""
    task = asyncio.ensure_future(work)
    if await settles(task, seconds):
        return task.result()
    leave(task)
    raise TimeoutError(f"no answer within {seconds * 1e3:.0f} ms")


def leave(task: asyncio.Task[Any]) -> None:
    """Tell it to stop, and wait neither for its end nor for its result."""
    task.cancel()
    forget(task)


def forget(task: asyncio.Task[Any]) -> None:
    """Nobody asks for its result; an error of it is no news."""
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
