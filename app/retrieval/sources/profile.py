"""A shopper's history as weights: newer events count more, what is being looked at has a share of its own.

Shapes: B users, L history, N trained items.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from app.features.users import KINDS, NUM_KINDS, PAD, UserBatch
from app.feedback.event import EVENT_WEIGHTS
from app.retrieval.space import ItemSpace
from app.types import Float32Array

# Of what is being looked at, against all of the past, in a linear profile. Next click on the sample shop, NDCG@10 at shares
# .02 / .33 / .67: similar .263 / .306 / .305, complements .229 / .248 / .237. The user tower needs no such help: it attends.
CONTEXT_SHARE = 0.33
FOREVER = 1e9  # days: time takes nothing away; the manifest knows no infinity
# What an event in the history counts in a linear profile, by KINDS row. Kinds of liking count alike, because the item weights
# were fitted on ones: weighing a purchase three times a click cost 1-5 % of NDCG@10 on the sample shop, by ridge.
KIND_WEIGHTS: Float32Array = np.ones(NUM_KINDS, np.float32)
for _name, _row in KINDS.items():
    KIND_WEIGHTS[_row] = min(EVENT_WEIGHTS.get(_name, 1.0), 1.0)


def recency_weights(users: UserBatch, decay: float, half_life_days: float = FOREVER) -> Float32Array:
    """float32 [B, L]: decay^(newer events) by kind of event, halved every half_life_days, 0 where there is none."""
    newer_BL = (users.history_BL != PAD).sum(1, keepdims=True) - 1 - np.arange(users.history_BL.shape[1])
    weight_BL = np.where(users.history_BL != PAD, decay ** np.maximum(newer_BL, 0), 0.0) * KIND_WEIGHTS[users.kinds_BL]
    if half_life_days < FOREVER:
        weight_BL *= halved(users, half_life_days)
    shared: Float32Array = share_with_context(weight_BL.astype(np.float32), users).astype(np.float32)
    return shared


def halved(users: UserBatch, half_life_days: float) -> Float32Array:
    """float32 [B, L]: what time leaves of each event, against the user's newest one: who comes back after a year is still known."""
    ages_BL = np.where(users.history_BL != PAD, users.ages_BL, np.inf)
    ages_BL[users.kinds_BL == KINDS["context"]] = np.inf  # what is looked at now is no past
    newest_B1 = ages_BL.min(1, keepdims=True, initial=np.inf)
    since_BL = np.where(np.isfinite(ages_BL), ages_BL - np.where(np.isfinite(newest_B1), newest_B1, 0.0), 0.0)
    left: Float32Array = (0.5 ** (since_BL / (24.0 * half_life_days))).astype(np.float32)
    return left


def profile(users: UserBatch, space: ItemSpace, decay: float, half_life_days: float = FOREVER) -> sparse.csr_array:
    """Recency weights summed by trained item: CSR float32 [B, N]. New items leave no trace."""
    rows_BL = space.trained_rows(users.history_BL)
    weight_BL = np.where(rows_BL != PAD, recency_weights(users, decay, half_life_days), 0.0)
    b, entry = np.nonzero(weight_BL > 0)
    shape = (len(users), len(space.index))
    return sparse.csr_array(sparse.coo_array((weight_BL[b, entry], (b, rows_BL[b, entry])), shape=shape))


def share_with_context(weight_BL: Float32Array, users: UserBatch) -> Float32Array:
    """Weights of the history scaled so that the context items have CONTEXT_SHARE of the sum, where there are any."""
    context_BL = users.kinds_BL == KINDS["context"]
    context_B1 = np.where(context_BL, weight_BL, 0.0).sum(1, keepdims=True)
    past_B1 = np.where(context_BL, 0.0, weight_BL).sum(1, keepdims=True)
    wanted_B1 = context_B1 * (1 - CONTEXT_SHARE) / CONTEXT_SHARE
    scale_B1 = np.where((context_B1 > 0) & (past_B1 > 0), wanted_B1 / np.maximum(past_B1, 1e-9), 1.0)
    return np.where(context_BL, weight_BL, weight_BL * scale_B1)
