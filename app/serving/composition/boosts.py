"""Soft preferences of the request and of the scenario: scores of matching candidates are multiplied. Shapes: C candidates."""

from __future__ import annotations

import numpy as np

from app.serving.composition.pool import scaled
from app.serving.draft import Draft
from app.serving.rules import matching_rows
from app.types import Float32Array

RULE = "boost"


def boost(draft: Draft) -> None:
    """An item that matches several is multiplied by each."""
    asked, pool = draft.asked, draft.pool
    boosts = (*asked.request.boosts, *asked.scenario.boosts)
    if not boosts or pool is None or not len(pool):
        return
    factor_C: Float32Array = np.ones(len(pool), np.float32)
    for place, wanted in enumerate(boosts):
        is_callers = place < len(asked.request.boosts)
        loc = ("boosts", place, "filter") if is_callers else None
        match_R = matching_rows(wanted.filter, asked, draft.live.catalogue, loc)
        factor_C[match_R[pool.rows_C]] *= wanted.factor
    draft.rescore(RULE, scaled(pool.scores_C, factor_C), factor_C > 1)
