"""How long events and impressions are kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Protocol

from app.privacy.upkeep import Task
from app.types import Clock, utc_now

BATCH_ROWS = 2_000  # some ten milliseconds of locks


class ExpiredRows(Protocol):
    """Both return how many rows are gone, 0 also while another worker is at it, and raise Unavailable."""

    async def delete_events(self, before: datetime, limit: int) -> int:
        """The oldest ones, retracted ones included. Whoever they were of: the live state is derived anew, and a user known from
        these events alone is gone."""

    async def delete_impressions(self, before: datetime, limit: int) -> int: ...


def retention_tasks(store: ExpiredRows, event_days: int, impression_days: int, clock: Clock = utc_now) -> list[Task]:
    """days: 0 keeps them for ever."""
    return [
        Task(f"{what} older than {days} days were deleted", _expiring(delete, days, clock))
        for what, days, delete in (
            ("events", event_days, store.delete_events),
            ("impressions", impression_days, store.delete_impressions),
        )
        if days
    ]


def _expiring(
    delete: Callable[[datetime, int], Awaitable[int]], days: int, clock: Clock
) -> Callable[[], Awaitable[int]]:
    async def work() -> int:
        return await delete(clock() - timedelta(days=days), BATCH_ROWS)

    return work
