"""What the sources propose to the users of a batch, and the one list it becomes for each, compiled.

Shapes: Q sources, B users, K proposals, R rows of the space, V views, C candidates, E excluded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numba import types
from numpy.typing import NDArray

from app.compiled import compiled, reads, several, writes
from app.retrieval import scratch
from app.retrieval.candidates import Ranked
from app.retrieval.selection import key_of, score_of, settle
from app.types import Float32Array, Int32Array, Int64Array

Excluded = tuple[
    Int64Array, Int64Array
]  # rows_E of all users, one user's behind the other's, and start_B1 of each in it


@dataclass(frozen=True, slots=True)
class Proposals:
    """Lists of each source for each user, best first, without repeats, scores finite. length_QB: of each; what stands behind is no
    proposal. num_rows: R, all rows are below it."""

    names: tuple[str, ...]
    rows_QBK: Int32Array
    scores_QBK: Float32Array
    length_QB: Int32Array
    num_rows: int

    @classmethod
    def room(cls, names: Sequence[str], num_users: int, num: int, num_rows: int) -> Proposals:
        """Without any yet."""
        shape = (len(names), num_users, num)
        rows_QBK, scores_QBK = np.empty(shape, np.int32), np.empty(shape, np.float32)
        return cls(tuple(names), rows_QBK, scores_QBK, np.zeros(shape[:2], np.int32), num_rows)

    def put(self, name: str, rows_BK: Int64Array, scores_BK: Float32Array, excluded: Excluded | None = None) -> None:
        """What a source found: its first, but for what is excluded and for scores that are no number: a broken vector costs its item the
        source, nobody else."""
        q, places_R = self.names.index(name), scratch.places(self.num_rows)
        left_out = excluded or (np.empty(0, np.int64), np.zeros(len(rows_BK) + 1, np.int64))
        found = (np.ascontiguousarray(rows_BK, np.int64), np.ascontiguousarray(scores_BK, np.float32))
        _keep(found, left_out, places_R, (self.rows_QBK[q], self.scores_QBK[q], self.length_QB[q]))

    def __iter__(self) -> Iterator[dict[str, Ranked]]:
        """User by user."""
        return map(self.of_user, range(self.rows_QBK.shape[1]))

    def of_user(self, b: int) -> dict[str, Ranked]:
        """By source."""
        return {
            name: Ranked(self.rows_QBK[q, b, :length].astype(np.int64), self.scores_QBK[q, b, :length].copy())
            for q, (name, length) in enumerate(zip(self.names, self.length_QB[:, b].tolist(), strict=True))
        }


def excluded_of(rows_by_user: Sequence[Int64Array]) -> Excluded:
    start_B1 = np.zeros(len(rows_by_user) + 1, np.int64)
    np.cumsum([len(rows) for rows in rows_by_user], out=start_B1[1:])
    return np.concatenate([*rows_by_user, np.empty(0, np.int64)]).astype(np.int64), start_B1


Lists = tuple[Int32Array, Float32Array, Int32Array]  # rows, scores and lengths
Pooled = tuple[Int64Array, Float32Array, Int64Array]  # rows_BC, scores_BC and the number of each user's
Told = tuple[Int32Array, Float32Array, Float32Array]  # ranks_BQC, scores_BQC and parts_BQC, as in `Candidates`


@compiled(
    types.void(
        several(reads("i8", 2), reads("f4", 2)),
        several(reads("i8"), reads("i8")),
        writes("i4"),
        several(writes("i4", 2), writes("f4", 2), writes("i4")),
    )
)
def _keep(found: tuple[Int64Array, Float32Array], excluded: Excluded, places_R: Int32Array, kept: Lists) -> None:
    """places_R: zero before and after."""
    rows_BK, scores_BK = found
    excluded_E, start_B1 = excluded
    kept_rows_BK, kept_scores_BK, length_B = kept
    for b in range(len(rows_BK)):
        left_out = excluded_E[start_B1[b] : start_B1[b + 1]]
        for row in left_out:
            if row < len(places_R):  # the catalogue can be ahead of the space
                places_R[row] = 1
        length = 0
        for k in range(rows_BK.shape[1]):
            row = rows_BK[b, k]
            if length < kept_rows_BK.shape[1] and row >= 0 and places_R[row] == 0 and np.isfinite(scores_BK[b, k]):
                kept_rows_BK[b, length], kept_scores_BK[b, length] = row, scores_BK[b, k]
                length += 1
        length_B[b] = length
        for row in left_out:
            if row < len(places_R):
                places_R[row] = 0


@compiled(types.void(reads("f4"), reads("f4", 2), reads("f8"), types.intp, writes("f4")))
def _worth(
    scores_K: Float32Array, by_rank_2K: Float32Array, share_V: NDArray[np.float64], depth: int, worth_K: Float32Array
) -> None:
    """What each place of a list adds to the fused score. scores_K: of the whole list, best first; depth: see `fusion.DEPTH`."""
    least = scores_K[min(len(scores_K), depth) - 1]
    span = max(scores_K[0] - least, np.float32(1e-12))
    for k in range(len(scores_K)):
        by_score = min(max((scores_K[k] - least) / span, np.float32(0.0)), np.float32(1.0))
        worth_K[k] = share_V[0] * by_rank_2K[0, k] + share_V[1] * by_rank_2K[1, k] + share_V[2] * by_score


@compiled(
    types.void(
        several(reads("i4", 3), reads("f4", 3), reads("i4", 2)), reads("f8", 3), reads("f4", 2), types.intp, writes("i4"),
        several(writes("i8", 2), writes("f4", 2), writes("i8")), several(writes("i4", 3), writes("f4", 3), writes("f4", 3)),
    )
)  # fmt: skip
def pooled(
    lists: Lists, share_BQV: NDArray[np.float64], by_rank_2K: Float32Array, depth: int, places_R: Int32Array, into: Pooled,
    told: Told,
) -> None:  # fmt: skip
    """One list for each user, by the sum of what each place in a source's list is worth, equal ones by row; and what each source said.

    lists: of `Proposals`. share_BQV: each user's shares of the views; all 0 for a source that has no say. places_R: zero before and after.
    into, told: filled up to the number of the user's candidates, which is C at most.
    """
    rows_QBK, scores_QBK, length_QB = lists
    Q, B, K = rows_QBK.shape
    rows_BC, fused_BC, length_B = into
    ranks_BQC, told_BQC, parts_BQC = told
    worth_QK = np.empty((Q, K), np.float32)
    sum_U, union_U, keys_U = np.empty(Q * K, np.float64), np.empty(Q * K, np.int32), np.empty(Q * K, np.int64)
    for b in range(B):
        size = 0
        for q in range(Q):
            length = length_QB[q, b]
            if length == 0 or not share_BQV[b, q].any():
                continue
            _worth(scores_QBK[q, b, :length], by_rank_2K, share_BQV[b, q], depth, worth_QK[q])
            for k in range(length):
                row = np.uint32(rows_QBK[q, b, k])
                place = places_R[row]
                if place == 0:
                    union_U[size], sum_U[size] = row, 0.0
                    size += 1
                    place = places_R[row] = size
                sum_U[np.uint32(place - 1)] += worth_QK[q, k]
        for u in range(size):
            keys_U[u] = key_of(sum_U[u], union_U[u])
            places_R[np.uint32(union_U[u])] = 0
        C = settle(keys_U, size, rows_BC.shape[1])
        length_B[b] = C
        for c in range(C):
            rows_BC[b, c], fused_BC[b, c] = keys_U[c] & 0xFFFFFFFF, score_of(keys_U[c])
            places_R[rows_BC[b, c]] = c + 1
        ranks_BQC[b, :, :C] = 0
        told_BQC[b, :, :C] = np.nan
        parts_BQC[b, :, :C] = 0.0
        for q in range(Q):
            if not share_BQV[b, q].any():
                continue
            for k in range(length_QB[q, b]):
                place = places_R[np.uint32(rows_QBK[q, b, k])]
                if place > 0:
                    at = np.uint32(place - 1)
                    ranks_BQC[b, q, at] = k + 1
                    told_BQC[b, q, at] = scores_QBK[q, b, k]
                    parts_BQC[b, q, at] = worth_QK[q, k]
        for c in range(C):
            places_R[rows_BC[b, c]] = 0
