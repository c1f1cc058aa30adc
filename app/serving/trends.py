"""What sells now, from the live counts, held in this process for seconds: every request of a placement reads the same list.

Asked for beside the user state. While Redis is away the last answer holds for a minute, then there are no trends.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic

import numpy as np

from app.feedback.state import LiveState
from app.retrieval.sources.moment import blend_trends
from app.serving.catalogue_view import CatalogueView
from app.types import Float32Array, Int64Array

NUM_ITEMS = 2_000  # asked for; what is filtered away in front makes room for what stands behind
FRESH_SECONDS, STALE_SECONDS = 5.0, 60.0
WAIT_SECONDS = 0.04  # what a request waits at most, as for the user state
MAX_PLACEMENTS = 256
Counts = Sequence[tuple[str, float]]  # item -> event weight, best first


@dataclass(slots=True, eq=False)
class Trend:
    """own: of the placement. shop: of all placements. _rows: as found in the newest view that asked, which a trend does not keep alive."""

    own: Counts = ()
    shop: Counts = ()
    _rows: tuple[weakref.ref[CatalogueView], Int64Array, Float32Array] | None = None

    @property
    def item_ids(self) -> list[str]:
        """Of this placement, then of the whole shop."""
        return list(dict.fromkeys(item_id for counts in (self.own, self.shop) for item_id, _ in counts))

    def rows(self, view: CatalogueView) -> tuple[Int64Array, Float32Array]:
        """Rows of the view and shares, best first. About 1 ms for a new view, else nothing."""
        held = self._rows
        if held is None or held[0]() is not view:
            held = self._rows = (weakref.ref(view), *blend_trends(_located(self.own, view), _located(self.shop, view)))
        return held[1], held[2]


NO_TREND = Trend()


@dataclass(slots=True)
class TrendCache:
    """Bound to one event loop. Concurrent requests share one question to Redis."""

    live_state: LiveState
    fresh_seconds: float = FRESH_SECONDS
    _held: OrderedDict[str, tuple[float, Trend]] = field(default_factory=OrderedDict)
    _asking: dict[str, asyncio.Task[Trend]] = field(default_factory=dict)

    def held(self, scenario: str) -> Trend | None:
        """None where it has to be asked for. What is a little old is still given while the next answer is on its way, so that under load no
        request waits for it."""
        at, trend = self._held.get(scenario, (0.0, None))
        age = monotonic() - at
        if trend is None or age >= 2 * self.fresh_seconds:
            return None
        if age >= self.fresh_seconds:
            self._start(scenario)
        return trend

    async def of(self, scenario: str) -> Trend:
        fresh = self.held(scenario)
        if fresh is not None:
            return fresh
        at, held = self._held.get(scenario, (-STALE_SECONDS, NO_TREND))
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return await asyncio.shield(self._start(scenario))
        except TimeoutError:
            return held if monotonic() - at < STALE_SECONDS else NO_TREND

    def _start(self, scenario: str) -> asyncio.Task[Trend]:
        asking = self._asking.get(scenario)
        if asking is None:
            asking = self._asking[scenario] = asyncio.create_task(self._ask(scenario))
            asking.add_done_callback(lambda _: self._asking.pop(scenario, None))
        return asking

    async def _ask(self, scenario: str) -> Trend:
        own, shop = [await self.live_state.trending(where, NUM_ITEMS) for where in (scenario, None)]
        held = self._held.get(scenario)
        if not shop and held is not None and monotonic() - held[0] < STALE_SECONDS:
            return held[1]  # an empty answer is what an absent Redis gives
        trend = Trend(own, shop)
        self._held[scenario] = (monotonic(), trend)
        self._held.move_to_end(scenario)
        if len(self._held) > MAX_PLACEMENTS:
            self._held.popitem(last=False)
        return trend


def _located(counts: Counts, view: CatalogueView) -> tuple[Int64Array, Float32Array]:
    known = [(row, weight) for item_id, weight in counts if (row := view.row(item_id)) is not None]
    rows, weights = zip(*known, strict=True) if known else ((), ())
    return np.asarray(rows, np.int64), np.asarray(weights, np.float32)
