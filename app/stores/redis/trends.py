"""What shoppers act on now: event weight per item in hourly buckets, for each scenario and for all placements.

Writers add to the buckets; after a loss they are counted anew from Postgres. A count is exact when nothing was written while
it was made and nothing was on its way: then the mark `unsure` goes, otherwise the count is repeated.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Protocol

import orjson
from redis.exceptions import WatchError

from app.feedback.event import Event
from app.feedback.trends import HOURS, worth
from app.stores.redis import scripts
from app.stores.redis.client import Client
from app.stores.redis.exposures import chunks
from app.types import Clock

MAX_ITEMS = 5_000  # per bucket, the heaviest
BUCKET_TTL_SECONDS = (HOURS + 2) * 3600
RESULT_TTL_SECONDS = 10  # a union of 25 buckets can take milliseconds; everybody shares it


Rows = Iterable[tuple[int, str | None, str, float]]  # hours since 1970, scenario, item, weight


class Counted(Protocol):
    @property
    def rows(self) -> list[tuple[int, str | None, str, str, int]]:
        """(hours since 1970, scenario, item, type, events)."""

    @property
    def open_groups(self) -> int:
        """Groups that the rows hold and that nobody may have added here yet."""


class HourlyCounts(Protocol):
    async def counts_by_hour(self, since: datetime) -> Counted: ...


class Trends:
    """weights: event type -> weight; types without a positive one do not count."""

    def __init__(self, client: Client, prefix: str, weights: Mapping[str, float], clock: Clock) -> None:
        self._client = client
        self._prefix = prefix
        self._weights = {kind: weight for kind, weight in weights.items() if weight > 0}
        self._clock = clock
        self.writes = f"{prefix}:writes-of-trends"
        self.unsure = f"{prefix}:unsure-trends"

    def add(self, pipe: Client, events: Iterable[Event], sign: int = 1) -> None:
        """As further commands of a pipeline. sign -1 takes them out again."""
        hour = self._this_hour()
        timed = ((int(event.occurred_at.timestamp() // 3600), event) for event in events)
        rows = (
            (when, event.scenario, event.item_id, sign * self._weights.get(event.type, 0.0))
            for when, event in timed
            if hour - when < HOURS
        )
        buckets = self._buckets(rows)
        pipe.eval(scripts.RAISE_BY_ONE, 1, self.writes)
        for bucket, weights in buckets.items():
            self._queue(pipe, bucket, weights, scripts.COUNT_UNLOGGED)
            if sign < 0:
                pipe.zremrangebyscore(bucket, "-inf", 1e-9)

    async def count_anew(self, events: HourlyCounts) -> bool:
        """From the events of the last day. False: something was written meanwhile, so it is right only nearly."""
        writes = int(await self._client.incr(self.writes))
        counted = await events.counts_by_hour(self.since())
        buckets = self.count(counted)
        pipe = self._client.pipeline(transaction=False)
        for bucket, weights in buckets.items():
            pipe.unlink(self._new(bucket))
            self._queue(pipe, self._new(bucket), weights)
        await pipe.execute()
        if counted.open_groups == 0 and await self._replace(buckets, if_writes=writes):
            return True
        await self._replace(buckets, if_writes=None)
        return False

    def since(self) -> datetime:
        return self._clock() - timedelta(hours=HOURS)

    def count(self, counted: Counted) -> dict[str, dict[str, float]]:
        """bucket -> item -> weight."""
        return self._buckets(
            (hour, where, item, self._weights.get(kind, 0.0) * n) for hour, where, item, kind, n in counted.rows
        )

    async def held(self) -> dict[str, dict[str, float]]:
        """The same as it stands in Redis."""
        found: dict[str, dict[str, float]] = {}
        async for key in self._client.scan_iter(match=f"{self._prefix}:t[0-9]*", count=1000):
            rows = await self._client.zrange(key, 0, -1, withscores=True)
            found[key.decode()] = {item.decode(): score for item, score in rows}
        return found

    def is_counted(self, bucket: str) -> bool:
        """Whether `count` sees all of a bucket: the oldest hour is cut."""
        return int(bucket.removeprefix(f"{self._prefix}:t").partition(":")[0]) > self._this_hour() - HOURS

    async def _replace(self, buckets: Mapping[str, object], if_writes: int | None) -> bool:
        """All buckets at once; with `if_writes` only if nothing was written since that number was read."""
        old = [key async for key in self._client.scan_iter(match=f"{self._prefix}:t[0-9t]*", count=1000)]
        gone = [key for key in old if key.decode() not in buckets]
        async with self._client.pipeline(transaction=True) as pipe:
            if if_writes is not None:
                await pipe.watch(self.writes)
                if int(await pipe.get(self.writes) or 0) != if_writes:
                    return False
            pipe.multi()
            pipe.incr(self.writes)
            for bucket in buckets:
                pipe.rename(self._new(bucket), bucket)
            if gone:
                pipe.unlink(*gone)
            try:
                await pipe.execute()
            except WatchError:
                return False
        return True

    def _new(self, bucket: str) -> str:
        """Where a bucket is made before it takes its place."""
        return f"{self._prefix}:n{bucket.removeprefix(f'{self._prefix}:t')}"

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

    def _buckets(self, rows: Rows) -> dict[str, dict[str, float]]:
        found: dict[tuple[str | None, int], dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for hour, scenario, item_id, weight in rows:
            if weight:
                for where in {scenario, None}:
                    found[where, hour][item_id] += weight
        return {self._bucket(where, hour): weights for (where, hour), weights in found.items()}

    def _queue(self, pipe: Client, bucket: str, weights: Mapping[str, float], script: str = scripts.COUNT) -> None:
        for chunk in chunks(heaviest(weights)):
            pipe.eval(script, 1, bucket, MAX_ITEMS, BUCKET_TTL_SECONDS, orjson.dumps(chunk))

    def _this_hour(self) -> int:
        return int(self._clock().timestamp() // 3600)

    def _bucket(self, scenario: str | None, hour: int) -> str:
        return f"{self._prefix}:t{hour}{label(scenario)}"


def label(scenario: str | None) -> str:
    return ":*" if scenario is None else f":={scenario}"


def heaviest(weights: Mapping[str, float]) -> Mapping[str, float]:
    if len(weights) <= MAX_ITEMS:
        return weights
    return dict(sorted(weights.items(), key=lambda entry: -entry[1])[:MAX_ITEMS])
