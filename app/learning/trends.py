"""What was trending when a case of training was asked for, replayed from the events before it as the live counts would have had it.

Shapes: E events in time order, K items.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from app.features.moment import Moment
from app.feedback.trends import HALF_LIFE_HOURS, HOURS
from app.learning.dataset import Interactions
from app.retrieval.sources.moment import blend_trends
from app.types import Float32Array, Int32Array, Int64Array

SECONDS_PER_HOUR = 3_600.0
MAX_EVENTS = 100_000  # the newest before a moment: bounds what one case costs
MAX_ITEMS = 2_000  # as many as serving asks the live counts for
KEPT = 256  # moments at a time; all cases of a cut share one


class TrendLog:
    """rows_N: item row of the log -> row of the space asked for."""

    def __init__(self, log: Interactions, rows_N: Int64Array) -> None:
        order_E = np.argsort(log.at_E, kind="stable")
        self._at_E, self._item_E = log.at_E[order_E], log.item_E[order_E]
        self._scenario_E, self._weight_E = log.scenario_E[order_E], log.weight_E[order_E]
        self._rows_N = rows_N
        self.at = lru_cache(KEPT)(self._moment)

    def _moment(self, now: float, scenario: int) -> Moment:
        """As of an instant before `now`, unix seconds. scenario: row of the log's; 0 (none): of the whole shop."""
        hour = now // SECONDS_PER_HOUR
        stop = int(np.searchsorted(self._at_E, now))
        start = int(np.searchsorted(self._at_E, (hour - HOURS) * SECONDS_PER_HOUR))
        window = slice(max(start, stop - MAX_EVENTS), stop)
        age_hours_E = hour - self._at_E[window] // SECONDS_PER_HOUR
        weight_E = self._weight_E[window] * 0.5 ** (age_hours_E / HALF_LIFE_HOURS)
        item_E, here_E = self._item_E[window], self._scenario_E[window] == scenario
        own = self._top(item_E[here_E], weight_E[here_E]) if scenario else self._top(item_E[:0], weight_E[:0])
        rows, scores = blend_trends(own, self._top(item_E, weight_E))
        return Moment(trending_rows_K=rows, trending_scores_K=scores)

    def _top(self, item_E: Int32Array, weight_E: NDArray[np.float64]) -> tuple[Int64Array, Float32Array]:
        weight_N = np.bincount(item_E, weight_E, len(self._rows_N))
        items = np.flatnonzero(weight_N > 0)
        best = items[np.argsort(-weight_N[items], kind="stable")[:MAX_ITEMS]]
        return self._rows_N[best], weight_N[best].astype(np.float32)
