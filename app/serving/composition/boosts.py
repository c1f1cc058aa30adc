"""Soft preferences of the request and of the scenario: scores of matching candidates are multiplied. Shapes: C candidates."""

from __future__ import annotations

import numpy as np

from app.scenarios.scenario import Boost
from app.serving.composition.pool import scaled
from app.serving.draft import Draft
from app.serving.rules import matching_rows
from app.types import BoolArray

RULE = "boost"
MOST = 1e30  # of all factors of an item together: many leave the range of float32


def boost(draft: Draft) -> None:
    """An item that matches several is multiplied by each."""
    asked, pool = draft.asked, draft.pool
    boosts = (*asked.request.boosts, *asked.scenario.boosts)
    # Looked at before the candidates: a caller's fault is told even if there are none.
    matches = [_matching(draft, place, wanted) for place, wanted in enumerate(boosts)]
    if not boosts or pool is None or not len(pool):
        return
    factor_C = np.ones(len(pool))
    for wanted, match_R in zip(boosts, matches, strict=True):
        factor_C[match_R[pool.rows_C]] *= wanted.factor
    within_C = np.clip(factor_C, 1 / MOST, MOST).astype(np.float32)
    draft.rescore(RULE, scaled(pool.scores_C, within_C), factor_C > 1)


def _matching(draft: Draft, place: int, wanted: Boost) -> BoolArray:
    """bool [R]. place: among the request's boosts and, behind them, the scenario's."""
    loc = ("boosts", place, "filter") if place < len(draft.asked.request.boosts) else None
    return matching_rows(wanted.filter, draft.asked, draft.live.catalogue, loc)
