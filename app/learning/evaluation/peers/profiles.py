"""Who had what, as sparse matrices. Shapes: E events, U users, N items."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from app.learning.dataset import Interactions

MAX_EVENTS_PER_USER = 500  # the newest; bounds the quadratic cost of a robot's history


def liked(train: Interactions) -> sparse.csr_array:
    """Ones where a user had a target event of an item, float32 [U, N]."""
    newest_E = train.starts_U1[1:][train.user_E] - np.arange(len(train)) <= MAX_EVENTS_PER_USER
    return _ones(train.where(newest_E & train.is_target_E))


def profiles(train: Interactions, decay: float = 1.0) -> sparse.csr_array:
    """float32 [U, N]: decay^(number of the user's newer events) at each item's newest event; decay 1 gives ones."""
    age_E = train.starts_U1[1:][train.user_E] - 1 - np.arange(len(train))
    pair_E = train.user_E.astype(np.int64) * len(train.item_ids) + train.item_E
    newest = len(train) - 1 - np.unique(pair_E[::-1], return_index=True)[1]
    weight = np.float32(decay) ** age_E[newest].astype(np.float32)
    return _matrix(train, newest, np.maximum(weight, np.finfo(np.float32).tiny))


def _ones(train: Interactions) -> sparse.csr_array:
    first = np.flatnonzero(~train.is_repeat_E)
    return _matrix(train, first, np.ones(len(first), np.float32))


def _matrix(
    train: Interactions,
    events: np.ndarray[tuple[int], np.dtype[np.intp]],
    values: np.ndarray[tuple[int], np.dtype[np.float32]],
) -> sparse.csr_array:
    shape = (len(train.user_ids), len(train.item_ids))
    return sparse.csr_array((values, (train.user_E[events], train.item_E[events])), shape=shape)
