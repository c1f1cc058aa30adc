"""Training windows: each user's events cut into pieces of at most L, at other places every epoch.

Shapes: E events, W windows, L window length.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from app.learning.dataset import Interactions
from app.types import Int64Array

NOTHING = -1


def windows(data: Interactions, length: int, rng: np.random.Generator) -> Int64Array:
    """Event numbers [W, L], NOTHING behind shorter ones. Every event stands in exactly one window."""
    if not len(data):
        return np.empty((0, length), np.int64)
    offset_U = rng.integers(0, length, len(data.user_ids))
    place_E = np.arange(len(data)) - data.starts_U1[data.user_E]
    offset_U[np.diff(data.starts_U1) <= length] = 0  # what fits into one window is not cut
    number_E = (place_E + offset_U[data.user_E]) // length
    first = np.flatnonzero(np.r_[True, (np.diff(data.user_E) != 0) | (np.diff(number_E) != 0)])
    size_W = np.diff(np.r_[first, len(data)])
    columns = np.arange(length)
    return np.where(columns < size_W[:, None], first[:, None] + columns, NOTHING)


def batches(windows_WL: Int64Array, size: int, rng: np.random.Generator) -> Iterator[Int64Array]:
    """Windows of like length together (little padding), the batches in random order."""
    length_W = (windows_WL != NOTHING).sum(1)
    order = np.argsort(length_W + rng.random(len(length_W)), kind="stable")
    starts = np.arange(0, len(order), size)
    for start in rng.permutation(starts):
        chosen = order[start : start + size]
        yield windows_WL[chosen, : max(2, length_W[chosen].max())]  # one column at least for a history
