"""Ranked lists of a source: scores over the trained items to rows of the space, joining and padding.

Shapes: B users, K candidates, N trained items, R rows of the space.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy import sparse

from app.retrieval.index import Neighbours, best, contenders
from app.retrieval.space import ItemSpace
from app.types import BoolArray, Float32Array, Int64Array


def rank_sparse(scores_BN: sparse.csr_array, space: ItemSpace, num: int, allowed_R: BoolArray | None) -> Neighbours:
    """The best of the trained items that have a score above 0, as rows of the space. Costs what is stored, whatever N is."""
    lists = []
    for start, stop in pairwise(scores_BN.indptr.tolist()):
        trained, scores = scores_BN.indices[start:stop], scores_BN.data[start:stop]
        rows = trained if space.current_N is None else space.current_N[trained]
        kept = scores > 0
        if allowed_R is not None:
            kept &= allowed_R[rows]
        rows, scores = rows[kept], scores[kept]
        if len(rows) > num:
            among = contenders(scores, num)
            rows, scores = rows[among], scores[among]
        order = np.lexsort((rows, -scores))[:num]
        lists.append((rows[order].astype(np.int64), scores[order].astype(np.float32)))
    return stack(lists)


def merge(
    rows_a: Int64Array, scores_a: Float32Array, rows_b: Int64Array, scores_b: Float32Array, num: int
) -> Neighbours:
    """Two lists per user as one; scores must be comparable and the rows disjoint."""
    rows, scores = np.concatenate([rows_a, rows_b], 1), np.concatenate([scores_a, scores_b], 1)
    columns, scores = best(scores, num)
    return np.where(columns < 0, -1, np.take_along_axis(rows, np.maximum(columns, 0), 1)), scores


def strongest(matrix: sparse.csr_array, num: int) -> sparse.csr_array:
    """The num heaviest entries of each row."""
    if matrix.nnz <= num:
        return matrix
    places = []
    for start, stop in pairwise(matrix.indptr.tolist()):
        part = matrix.data[start:stop]
        places.append(start + (np.argpartition(-part, num - 1)[:num] if len(part) > num else np.arange(len(part))))
    indptr = np.concatenate([[0], np.cumsum([len(of_row) for of_row in places])])
    kept = np.concatenate(places)
    return sparse.csr_array((matrix.data[kept], matrix.indices[kept], indptr), shape=matrix.shape)


def stack(lists: list[tuple[Int64Array, Float32Array]]) -> Neighbours:
    """Lists of different lengths as one padded pair of arrays."""
    K = max((len(rows) for rows, _ in lists), default=0)
    rows_BK, scores_BK = np.full((len(lists), K), -1, np.int64), np.full((len(lists), K), -np.inf, np.float32)
    for b, (rows, scores) in enumerate(lists):
        rows_BK[b, : len(rows)], scores_BK[b, : len(rows)] = rows, scores
    return rows_BK, scores_BK


def excluded_keys(excluded: Sequence[Int64Array], num_rows: int) -> Int64Array:
    """The rows that each user must not be shown, as one rising array for `is_excluded`. num_rows: R."""
    return np.sort(np.concatenate([b * num_rows + rows for b, rows in enumerate(excluded)]))


def is_excluded(rows_BK: Int64Array, keys: Int64Array, num_rows: int) -> BoolArray:
    """bool [B, K]. keys: of `excluded_keys`, not empty."""
    key_BK = rows_BK + np.arange(len(rows_BK))[:, None] * num_rows
    found: BoolArray = keys[np.minimum(np.searchsorted(keys, key_BK), len(keys) - 1)] == key_BK
    return found
