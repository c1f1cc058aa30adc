"""The order of the candidates before the slate's rules: every candidate gets one score, higher is better.

By the ranker and the scenario's objective where validation chose it, else as they were fused. Shapes: C candidates, K of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from app.retrieval.candidates import Candidates
from app.retrieval.ranker import Method, Order, Unordered
from app.serving.live import LiveSnapshot
from app.serving.rules import Asked
from app.types import Float32Array, Int64Array


@dataclass(frozen=True, slots=True)
class Ranking:
    """candidates: as retrieved. scores_C: finite, of the same places, in any order. method: what made the scores, for the diagnostics."""

    candidates: Candidates
    scores_C: Float32Array
    method: str = "fusion"


def rank(asked: Sequence[Asked], live: LiveSnapshot, candidates: Sequence[Candidates]) -> list[Ranking]:
    """Of independent requests, each by what serves its scenario."""
    orders = order(asked, live, candidates)
    return [Ranking(found, *one) for found, one in zip(candidates, orders, strict=True)]


def order(
    asked: Sequence[Asked],
    live: LiveSnapshot,
    candidates: Sequence[Candidates],
    at: Sequence[Int64Array | None] | None = None,
    by: Method | None = None,
) -> list[Order]:
    """The scores of all candidates of each request, or of those at its places, and what made them. by: what is to make them; none given:
    what serves."""
    model = live.model
    assert model
    unordered = [
        _unordered(one, live, found, at_K, by)
        for one, found, at_K in zip(asked, candidates, at or repeat(None, len(asked)), strict=True)
    ]
    return [_finite(one) for one in model.snapshot.ordered(unordered, model.space, model.table)]


def _unordered(
    asked: Asked, live: LiveSnapshot, found: Candidates, at_K: Int64Array | None, by: Method | None
) -> Unordered:
    unordered = Unordered(found, asked.scenario.name, asked.scenario.objective, at_K, None, by)
    if unordered.objective is not None and unordered.objective.value > 0:
        return unordered._replace(price_C=_prices(live, unordered.rows_C))
    return unordered


def _finite(order: Order) -> Order:
    if np.isfinite(order.scores_C).all():
        return order
    return order._replace(scores_C=np.nan_to_num(order.scores_C, nan=0.0, posinf=1.0, neginf=0.0))


def _prices(live: LiveSnapshot, rows_C: Int64Array) -> Float32Array:
    """As the catalogue has them now; NaN where there is none."""
    return np.asarray(
        [np.nan if price is None else price for price in live.catalogue.labels(rows_C, "price")], np.float32
    )
