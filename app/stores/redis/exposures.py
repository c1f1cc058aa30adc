"""How often each item was shown and clicked of late, by everybody: what tells exploration which items are still uncertain.

Two counters in each period of PERIOD_DAYS; the current and the last period count, so 15 to 30 days.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Protocol

import orjson

from app.feedback.event import Event
from app.feedback.seen import Showing
from app.feedback.state import Exposure
from app.stores.redis import scripts
from app.stores.redis.client import Client
from app.types import Clock

PERIOD_DAYS = 15
MAX_ITEMS = 200_000  # of a counter, the most shown: who drops out is as uncertain as who never was in
TTL_SECONDS = 2 * PERIOD_DAYS * 86_400
CHUNK = 1_000  # items of one script: about a millisecond of Redis
SHOWN, ACTED = "xs", "xa"


class ExposureCounts(Protocol):
    async def exposures_since(self, since: datetime) -> tuple[Mapping[str, int], Mapping[str, int]]:
        """Item -> how often it was shown, and how often clicked."""


class Exposures:
    def __init__(self, client: Client, prefix: str, clock: Clock) -> None:
        self._client = client
        self._prefix = prefix
        self._clock = clock

    def add_showings(self, pipe: Client, showings: Iterable[Showing]) -> None:
        self._add(pipe, SHOWN, Counter(chain.from_iterable(showing.item_ids for showing in showings)))

    def add_acts(self, pipe: Client, events: Iterable[Event]) -> None:
        self._add(pipe, ACTED, Counter(event.item_id for event in events if event.type == "click"))

    def take_back(self, pipe: Client, event: Event) -> None:
        """An act that was retracted. One of an earlier period stays counted until that period is over."""
        period = PERIOD_DAYS * 86_400
        if event.type == "click" and event.occurred_at.timestamp() // period == self._clock().timestamp() // period:
            pipe.zincrby(self._key(ACTED, 0), -1, event.item_id)

    async def of(self, item_ids: Sequence[str]) -> dict[str, Exposure]:
        pipe = self._client.pipeline(transaction=False)
        for counter in (SHOWN, ACTED):
            for ago in (0, 1):
                pipe.zmscore(self._key(counter, ago), list(item_ids))
        shown, shown_before, acted, acted_before = await pipe.execute()
        counts = {
            item_id: Exposure((a or 0.0) + (b or 0.0), (c or 0.0) + (d or 0.0))
            for item_id, a, b, c, d in zip(item_ids, shown, shown_before, acted, acted_before, strict=True)
        }
        return {item_id: count for item_id, count in counts.items() if count.shown or count.acted}

    async def rebuild(self, counts: ExposureCounts) -> None:
        """All of it as of the current period. Concurrent additions may be lost or counted twice: these are estimates."""
        period = int(self._clock().timestamp() // (86_400 * PERIOD_DAYS))
        found = await counts.exposures_since(datetime.fromtimestamp((period - 1) * PERIOD_DAYS * 86_400, UTC))
        for counter, items in zip((SHOWN, ACTED), found, strict=True):
            await self._client.unlink(self._key(counter, 0), self._key(counter, 1))
            for chunk in chunks(items):
                pipe = self._client.pipeline(transaction=False)
                self._add(pipe, counter, chunk)
                await pipe.execute()

    def _add(self, pipe: Client, counter: str, counts: Mapping[str, float]) -> None:
        for chunk in chunks(counts):
            pipe.eval(scripts.COUNT_UNLOGGED, 1, self._key(counter, 0), MAX_ITEMS, TTL_SECONDS, orjson.dumps(chunk))

    def _key(self, counter: str, ago: int) -> str:
        return f"{self._prefix}:{counter}:{int(self._clock().timestamp() // (86_400 * PERIOD_DAYS)) - ago}"


def chunks(counts: Mapping[str, float]) -> Iterator[dict[str, float]]:
    """Of a size for one script."""
    rows = list(counts.items())
    for start in range(0, len(rows), CHUNK):
        yield dict(rows[start : start + CHUNK])
