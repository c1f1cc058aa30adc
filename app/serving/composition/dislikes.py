"""Not this kind: a dislike lowers what is like the disliked item, in words or in who wants it, and is forgotten with time.

The item itself is kept out by a hard rule (`app.serving.rules`); taking the dislike back ends both. Shapes: C candidates, J disliked items.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.retrieval.likeness import likeness_vectors
from app.serving.composition.pool import scaled
from app.serving.draft import Draft
from app.serving.rules import SECONDS_PER_DAY
from app.types import Float32Array

RULE = "dislike"
HALF_LIFE_DAYS = 30.0
STRENGTH = 0.9  # what a fresh dislike takes from an item that is all alike
UNLIKE = (
    0.25  # likeness from which on a dislike reaches: most pairs of items of one department of the sample shop lie above
)
NOTICED = 0.05  # a candidate that lost more than this is counted


def lower_disliked(draft: Draft) -> None:
    asked, pool, live = draft.asked, draft.pool, draft.live
    if not (asked.personal and asked.state.dismissed) or pool is None or not len(pool) or live.model is None:
        return
    rows = {row: at for item_id, at in asked.state.dismissed.items() if (row := live.history_row(item_id)) is not None}
    if not rows:
        return
    snapshot, space = live.model.snapshot, live.model.space
    alike_CJ = likeness_vectors(snapshot, space, pool.rows_C) @ likeness_vectors(snapshot, space, np.asarray([*rows])).T
    age_J = (asked.now.timestamp() - np.asarray([*rows.values()])) / SECONDS_PER_DAY
    kept_C = kept_share(alike_CJ, age_J)
    draft.rescore(RULE, scaled(pool.scores_C, kept_C), kept_C < 1 - NOTICED, lowers=True)


def kept_share(alike_CJ: Float32Array, age_days_J: NDArray[np.float64]) -> Float32Array:
    """Of a candidate's score, 0.1-1: each dislike takes a part of what the others left. float32 [C]."""
    memory_J = 0.5 ** (np.maximum(age_days_J, 0.0) / HALF_LIFE_DAYS)
    reach_CJ = np.clip((alike_CJ - UNLIKE) / (1 - UNLIKE), 0.0, 1.0)
    kept_C: Float32Array = np.prod(1 - STRENGTH * memory_J * reach_CJ, axis=1).astype(np.float32)
    return kept_C
