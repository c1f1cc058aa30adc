"""Scores halve with each half-life of an item's age. Shapes: C candidates."""

from __future__ import annotations

import numpy as np

from app.serving.composition.pool import scaled
from app.serving.draft import Draft
from app.serving.rules import SECONDS_PER_DAY

RULE = "freshness"


def prefer_fresh(draft: Draft) -> None:
    """An item whose age nobody knows counts as old as the oldest candidate."""
    half_life, pool, model = draft.asked.scenario.freshness_half_life_days, draft.pool, draft.live.model
    if half_life is None or pool is None or model is None or not len(pool):
        return
    age_C = (draft.asked.now.timestamp() - model.space.published_R[pool.rows_C]) / SECONDS_PER_DAY
    known_C = np.isfinite(age_C)
    age_C = np.maximum(np.where(known_C, age_C, age_C[known_C].max(initial=0.0)), 0.0)
    fresh_C = (0.5 ** (age_C / half_life)).astype(np.float32)
    draft.rescore(RULE, scaled(pool.scores_C, fresh_C), np.zeros(len(pool), np.bool_))
