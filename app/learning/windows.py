"""Training windows: each user's events cut into pieces of at most L, at other places every epoch.

Shapes: E events, W windows, L window length.
"""

from __future__ import annotations

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


def batches(windows_WL: Int64Array, num_events: int, rng: np.random.Generator) -> list[Int64Array]:
    """Windows of like length together (little padding), about num_events in each batch, the batches in random order.

    Counted in events, not windows: a step costs what its predictions cost, and users with short histories would otherwise make
    many small steps, each of which pays for the vectors of the whole catalogue.
    """
    length_W = (windows_WL != NOTHING).sum(1)
    order = np.argsort(length_W + rng.random(len(length_W)), kind="stable")
    before_W = np.cumsum(length_W[order]) - length_W[order]
    pieces = np.split(order, np.flatnonzero(np.diff(before_W // num_events)) + 1) if len(order) else []
    # Two columns at least: one for a history.
    return [windows_WL[pieces[n], : max(2, length_W[pieces[n]].max())] for n in rng.permutation(len(pieces))]
