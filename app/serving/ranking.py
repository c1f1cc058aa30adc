"""The order of the candidates before the slate's rules: every candidate gets one score, higher is better.

By the ranker and the scenario's objective where validation chose it, else as they were fused. Shapes: C candidates, K of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.retrieval.candidates import Candidates
from app.retrieval.ranker import Method
from app.serving.live import LiveSnapshot
from app.serving.rules import Asked
from app.types import Float32Array, Int64Array


@dataclass(frozen=True, slots=True)
class Ranking:
    """candidates: as retrieved. scores_C: finite, of the same places, in any order. method: what made the scores, for the diagnostics."""

    candidates: Candidates
    scores_C: Float32Array
    method: str = "fusion"


def rank(asked: Asked, live: LiveSnapshot, candidates: Candidates) -> Ranking:
    scores_C, method = order(asked, live, candidates)
    return Ranking(candidates, scores_C, method)


def order(
    asked: Asked, live: LiveSnapshot, candidates: Candidates, at_K: Int64Array | None = None, by: Method | None = None
) -> tuple[Float32Array, str]:
    """The scores of all candidates, or of those at these places, and what made them. by: what is to make them; none given: what serves."""
    model, scenario = live.model, asked.scenario
    assert model
    price_C = None
    if scenario.objective is not None and scenario.objective.value > 0:
        price_C = _prices(live, candidates.rows_C if at_K is None else candidates.rows_C[at_K])
    scores_C, method = model.snapshot.ordered(
        candidates, model.space, model.table, scenario.name, scenario.objective, at_K=at_K, price_C=price_C, by=by
    )
    if not np.isfinite(scores_C).all():
        scores_C = np.nan_to_num(scores_C, nan=0.0, posinf=1.0, neginf=0.0)
    return scores_C.astype(np.float32, copy=False), method


def _prices(live: LiveSnapshot, rows_C: Int64Array) -> Float32Array:
    """As the catalogue has them now; NaN where there is none."""
    return np.asarray(
        [np.nan if price is None else price for price in live.catalogue.labels(rows_C, "price")], np.float32
    )
