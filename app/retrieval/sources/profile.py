"""A shopper's history as weights: newer events count more, what is being looked at has a share of its own.

Shapes: B users, L history, N trained items.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from app.compiled import compiled, reads, writes
from app.features.users import KINDS, NUM_KINDS, UserBatch
from app.feedback.event import EVENT_WEIGHTS
from app.retrieval.space import ItemSpace
from app.types import BoolArray, Float32Array, Int32Array

# Of what is being looked at, against all of the past, in a linear profile. Next click on the sample shop, NDCG@10 at shares
# .02 / .33 / .67: similar .263 / .306 / .305, complements .229 / .248 / .237. The user tower needs no such help: it attends.
CONTEXT_SHARE = 0.33
FOREVER = 1e9  # days: time takes nothing away; the manifest knows no infinity
HOURS_PER_DAY = 24.0
CONTEXT = KINDS["context"]
# What an event in the history counts in a linear profile, by KINDS row. Kinds of liking count alike, because the item weights
# were fitted on ones: weighing a purchase three times a click cost 1-5 % of NDCG@10 on the sample shop, by ridge.
KIND_WEIGHTS: Float32Array = np.ones(NUM_KINDS, np.float32)
for _name, _row in KINDS.items():
    KIND_WEIGHTS[_row] = min(EVENT_WEIGHTS.get(_name, 1.0), 1.0)


def recency_weights(users: UserBatch, decay: float, half_life_days: float = FOREVER) -> Float32Array:
    """float32 [B, L]: decay^(newer events) by kind of event, halved every half_life_days, 0 where there is none. Of the sum of each
    user, the context items have CONTEXT_SHARE, where there are any."""
    weight_BL = np.zeros(users.history_BL.shape, np.float32)
    _weigh(*_columns(users), KIND_WEIGHTS, decay, half_life_days * HOURS_PER_DAY, weight_BL)
    return weight_BL


def at_hand(users: UserBatch, counts_K: BoolArray, decay: float, half_life_days: float) -> Float32Array:
    """float32 [B, L]: 1 for each context item; where there are none, decay^(newer events that count), halved every half_life_days.

    counts_K: by KINDS row, whether events of the kind count.
    """
    weight_BL = np.zeros(users.history_BL.shape, np.float32)
    _weigh_at_hand(*_columns(users), counts_K, decay, half_life_days * HOURS_PER_DAY, weight_BL)
    return weight_BL


def profile(
    users: UserBatch, space: ItemSpace, decay: float, half_life_days: float = FOREVER
) -> tuple[Int32Array, Float32Array]:
    """The trained rows of the history, PAD where there is none (new items leave no trace), and their `recency_weights`, [B, L] each."""
    rows_BL = np.ascontiguousarray(space.trained_rows(users.history_BL), np.int32)
    return rows_BL, recency_weights(users, decay, half_life_days)


def _columns(users: UserBatch) -> tuple[Int32Array, Int32Array, NDArray[np.float64]]:
    return (
        np.ascontiguousarray(users.history_BL, np.int32),
        np.ascontiguousarray(users.kinds_BL, np.int32),
        np.ascontiguousarray(users.ages_BL, np.float64),
    )


_COLUMNS = (reads("i4", 2), reads("i4", 2), reads("f8", 2))


@compiled(types.float64(reads("i4"), reads("i4"), reads("f8")))
def _newest_age(history_L: Int32Array, kinds_L: Int32Array, ages_L: NDArray[np.float64]) -> float:
    """Hours since the user's newest event; what is looked at now is no past. 0 where there is none."""
    newest = np.inf
    for at in range(len(history_L)):
        if history_L[at] >= 0 and kinds_L[at] != CONTEXT:
            newest = min(newest, ages_L[at])
    return newest if np.isfinite(newest) else 0.0


@compiled(types.void(*_COLUMNS, reads("f4"), types.float64, types.float64, writes("f4", 2)))
def _weigh(
    history_BL: Int32Array, kinds_BL: Int32Array, ages_BL: NDArray[np.float64], kind_weights_K: Float32Array, decay: float,
    half_life_hours: float, weight_BL: Float32Array,
) -> None:  # fmt: skip
    """What time leaves of an event is counted from the user's newest one: who comes back after a year is still known."""
    B, L = history_BL.shape
    forgets = half_life_hours < FOREVER * HOURS_PER_DAY
    for b in range(B):
        newest = _newest_age(history_BL[b], kinds_BL[b], ages_BL[b]) if forgets else 0.0
        by_place, past, context = 1.0, 0.0, 0.0
        for at in range(L - 1, -1, -1):
            if history_BL[b, at] < 0:
                continue
            kind = kinds_BL[b, at]
            weight = by_place * kind_weights_K[kind]
            by_place *= decay
            if forgets and kind != CONTEXT:
                weight *= 0.5 ** ((ages_BL[b, at] - newest) / half_life_hours)
            weight_BL[b, at] = weight
            if kind == CONTEXT:
                context += weight
            else:
                past += weight
        if context > 0 and past > 0:
            scale = context * (1 - CONTEXT_SHARE) / CONTEXT_SHARE / past
            for at in range(L):
                if kinds_BL[b, at] != CONTEXT:
                    weight_BL[b, at] *= scale


@compiled(types.void(*_COLUMNS, reads("b1"), types.float64, types.float64, writes("f4", 2)))
def _weigh_at_hand(
    history_BL: Int32Array, kinds_BL: Int32Array, ages_BL: NDArray[np.float64], counts_K: BoolArray, decay: float,
    half_life_hours: float, weight_BL: Float32Array,
) -> None:  # fmt: skip
    B, L = history_BL.shape
    for b in range(B):
        looks = False
        for at in range(L):
            if history_BL[b, at] >= 0 and kinds_BL[b, at] == CONTEXT:
                weight_BL[b, at] = 1.0
                looks = True
        if looks:
            continue
        newest, by_place = _newest_age(history_BL[b], kinds_BL[b], ages_BL[b]), 1.0
        for at in range(L - 1, -1, -1):
            if history_BL[b, at] >= 0 and counts_K[kinds_BL[b, at]]:
                weight_BL[b, at] = by_place * 0.5 ** ((ages_BL[b, at] - newest) / half_life_hours)
                by_place *= decay
