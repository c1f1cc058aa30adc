"""Ranked lists of a source: scores over the trained items to rows of the space, joining and padding.

Shapes: B users, K candidates, N trained items, R rows of the space.
"""

from __future__ import annotations

import numpy as np

from app.retrieval import scratch
from app.retrieval.index import Neighbours, best, padded
from app.retrieval.selection import EVERY
from app.retrieval.sources.walks import Into
from app.retrieval.space import ItemSpace
from app.types import BoolArray, Float32Array, Int64Array

_NOWHERE = np.empty(0, np.int64)  # no trained row has moved


class Ranking:
    """Where compiled functions put the best of the trained items for each user, as rows of the space; see `walks`.

    working_rows: of what else they choose among, at most.
    """

    def __init__(
        self, num_users: int, space: ItemSpace, num: int, allowed_R: BoolArray | None, working_rows: int = 0
    ) -> None:
        N = len(space.index)
        self.found = padded(num_users, min(num, N))
        self.sums_N = scratch.sums("items", N)
        current_N = _NOWHERE if space.current_N is None else space.current_N
        keys_E = scratch.keys(max(N, working_rows))
        self.into: Into = (current_N, EVERY if allowed_R is None else allowed_R, keys_E, *self.found)


def first_allowed(rows_R: Int64Array, allowed_R: BoolArray | None, num: int) -> Int64Array:
    """Places of the first num of these rows that may be, without a look at the others where most may."""
    if allowed_R is None:
        return np.arange(min(num, len(rows_R)))
    found = np.flatnonzero(allowed_R[rows_R[: 4 * num]])
    if len(found) < num:
        found = np.flatnonzero(allowed_R[rows_R])
    return found[:num]


def merge(
    rows_a: Int64Array, scores_a: Float32Array, rows_b: Int64Array, scores_b: Float32Array, num: int
) -> Neighbours:
    """Two lists per user as one; scores must be comparable and the rows disjoint."""
    rows, scores = np.concatenate([rows_a, rows_b], 1), np.concatenate([scores_a, scores_b], 1)
    columns, scores = best(scores, num)
    return np.where(columns < 0, -1, np.take_along_axis(rows, np.maximum(columns, 0), 1)), scores


def stack(lists: list[tuple[Int64Array, Float32Array]]) -> Neighbours:
    """Lists of different lengths as one padded pair of arrays."""
    K = max((len(rows) for rows, _ in lists), default=0)
    rows_BK, scores_BK = padded(len(lists), K)
    for b, (rows, scores) in enumerate(lists):
        rows_BK[b, : len(rows)], scores_BK[b, : len(rows)] = rows, scores
    return rows_BK, scores_BK
