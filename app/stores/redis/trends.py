"""What shoppers act on now: event weight per item in hourly buckets, for each scenario and for all placements."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from app.feedback.event import Event
from app.feedback.trends import HOURS, worth
from app.stores.redis.client import Client
from app.types import Clock

MAX_ITEMS = 5_000  # per bucket, the heaviest
BUCKET_TTL_SECONDS = (HOURS + 2) * 3600
RESULT_TTL_SECONDS = 10  # a union of 25 buckets can take milliseconds; everybody shares it


class HourlyCounts(Protocol):
    async def counts_by_hour(self, since: datetime) -> list[tuple[int, str | None, str, str, int]]:
        """(hours since 1970, scenario, item, type, events)."""


class Trends:
    """weights: event type -> weight; types without a positive one do not count."""

    def __init__(self, client: Client, prefix: str, weights: Mapping[str, float], clock: Clock) -> None:
        self._client = client
        self._prefix = prefix
        self._weights = weights
        self._clock = clock

    def add(self, pipe: Client, events: Iterable[Event]) -> None:
        """As further commands of a pipeline."""
        hour = self._this_hour()
        rows = (
            (
                int(event.occurred_at.timestamp() // 3600),
                event.scenario,
                event.item_id,
                self._weights.get(event.type, 0.0),
            )
            for event in events
            if hour - event.occurred_at.timestamp() // 3600 < HOURS
        )
        self._queue(pipe, rows)

    async def rebuild(self, counts: HourlyCounts) -> None:
        """From the events of the last day. Concurrent additions may be lost or counted twice: these are trends."""
        rows = await counts.counts_by_hour(self._clock() - timedelta(hours=HOURS))
        async for key in self._client.scan_iter(match=f"{self._prefix}:t*", count=1000):
            await self._client.unlink(key)
        pipe = self._client.pipeline(transaction=False)
        self._queue(
            pipe, ((hour, where, item, self._weights.get(kind, 0.0) * n) for hour, where, item, kind, n in rows)
        )
        await pipe.execute()

    async def top(self, scenario: str | None, limit: int) -> list[tuple[str, float]]:
        result = f"{self._prefix}:tt{label(scenario)}"
        if not await self._client.exists(result):
            hour = self._this_hour()
            buckets = {self._bucket(scenario, hour - age): worth(age) for age in range(HOURS + 1)}
            pipe = self._client.pipeline(transaction=True)
            pipe.zunionstore(result, buckets)
            pipe.zremrangebyrank(result, 0, -MAX_ITEMS - 1)
            pipe.expire(result, RESULT_TTL_SECONDS)
            await pipe.execute()
        best: list[tuple[bytes, float]] = await self._client.zrevrange(result, 0, limit - 1, withscores=True)
        return [(item.decode(), score) for item, score in best]

    def _queue(self, pipe: Client, rows: Iterable[tuple[int, str | None, str, float]]) -> None:
        buckets: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for hour, scenario, item_id, weight in rows:
            if weight > 0:
                for bucket in {self._bucket(scenario, hour), self._bucket(None, hour)}:
                    buckets[bucket][item_id] += weight
        for bucket, weights in buckets.items():
            for item_id, weight in heaviest(weights):
                pipe.zincrby(bucket, weight, item_id)
            pipe.zremrangebyrank(bucket, 0, -MAX_ITEMS - 1)
            pipe.expire(bucket, BUCKET_TTL_SECONDS)

    def _this_hour(self) -> int:
        return int(self._clock().timestamp() // 3600)

    def _bucket(self, scenario: str | None, hour: int) -> str:
        return f"{self._prefix}:t{hour}{label(scenario)}"


def label(scenario: str | None) -> str:
    return ":*" if scenario is None else f":={scenario}"


def heaviest(weights: Mapping[str, float]) -> Sequence[tuple[str, float]]:
    return sorted(weights.items(), key=lambda entry: -entry[1])[:MAX_ITEMS]
