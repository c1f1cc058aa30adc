"""From the items of a history over sparse weights to the best of what they lead to, compiled: one call for all users of a batch.

Shapes: B users, L history, N trained items, R rows of the space, M delta items, U shoppers, E entities, K candidates.
"""

from __future__ import annotations

import numpy as np
from numba import types
from scipy import sparse

from app.compiled import compiled, reads, several, writes
from app.retrieval.scratch import Sums
from app.retrieval.selection import NO_KEY, collect_highest, key_of, part, settle_into
from app.types import BoolArray, Float32Array, Int32Array, Int64Array

Matrix = tuple[Float32Array, Int32Array, Int64Array]  # data, indices and indptr of a CSR matrix
History = tuple[
    Int32Array, Float32Array
]  # rows_BL, -1 where there is none, and weight_BL; one of 0 or less leaves no trace
# What is found: current_N, where each trained row lives now (empty: where it was); allowed_R, rows of the space that may be (empty: all);
# keys, overwritten; and what is filled from the front, best first: rows_BK of -1 and scores_BK of -inf.
Into = tuple[Int64Array, BoolArray, Int64Array, Int64Array, Float32Array]

_MATRIX = several(reads("f4"), reads("i4"), reads("i8"))
_HISTORY = several(reads("i4", 2), reads("f4", 2))
_SUMS = several(writes("f4"), writes("b1"), writes("i4"))
_INTO = several(reads("i8"), reads("b1"), writes("i8"), writes("i8", 2), writes("f4", 2))
NOTING = 4  # sums that are looked at in the time it takes to note that one was touched
_ONE = np.empty(0, np.float32)  # factors that are all 1


def matrix_of(matrix: sparse.csr_array) -> Matrix:
    """data and indices stay memory-mapped where they are."""
    data, indices = np.ascontiguousarray(matrix.data, np.float32), np.ascontiguousarray(matrix.indices, np.int32)
    return data, indices, matrix.indptr.astype(np.int64)


@compiled(types.intp(_SUMS, types.intp, _MATRIX, types.intp, types.float32))
def _add(sums: Sums, length: int, matrix: Matrix, row: int, weight: float) -> int:
    """Adds a row of the matrix times weight to sums of which `length` are touched; how many are then. Unsigned, a place need not be asked
    whether it counts from the end."""
    sums_X, marked_X, touched_X = sums
    data, indices, indptr = matrix
    data_P, column_P = data[indptr[row] : indptr[row + 1]], indices[indptr[row] : indptr[row + 1]]
    num = np.uint64(length)
    for p in range(len(data_P)):
        column = np.uint32(column_P[p])
        sums_X[column] += weight * data_P[p]
        touched_X[num] = column  # kept only where it is new: a branch would be guessed wrong half the time
        num += np.uint64(not marked_X[column])
        marked_X[column] = True
    return int(num)


@compiled(types.void(writes("f4"), _MATRIX, types.intp, types.float32))
def _spread(sums_X: Float32Array, matrix: Matrix, row: int, weight: float) -> None:
    """`_add` where nobody needs to know which were touched."""
    data, indices, indptr = matrix
    data_P, column_P = data[indptr[row] : indptr[row + 1]], indices[indptr[row] : indptr[row + 1]]
    for p in range(len(data_P)):
        sums_X[np.uint32(column_P[p])] += weight * data_P[p]


@compiled(types.void(_SUMS, types.intp))
def _empty(sums: Sums, length: int) -> None:
    sums_X, marked_X, touched_X = sums
    for t in range(length):
        touched = np.uint32(touched_X[t])
        sums_X[touched], marked_X[touched] = 0.0, False


@compiled(types.intp(_SUMS, types.intp, writes("i8"), types.intp))
def _strongest(sums: Sums, length: int, keys_E: Int64Array, num: int) -> int:
    """Keys of the num highest sums to the front, in any order; how many there are."""
    sums_X, _, touched_X = sums
    found = 0
    for t in range(length):
        key = key_of(sums_X[np.uint32(touched_X[t])], touched_X[t])
        if key != NO_KEY:
            keys_E[found] = key
            found += 1
    part(keys_E, found, num)
    return min(found, num)


@compiled(types.void(_SUMS, types.intp, reads("f4"), _INTO, types.intp))
def _rank(sums: Sums, length: int, factor_N: Float32Array, into: Into, b: int) -> None:
    """The best for user b of the sums above 0, each times its factor, as rows of the space; empties the sums."""
    sums_N, marked_N, touched_N = sums
    current_N, allowed_R, keys_E, rows_BK, scores_BK = into
    found = 0
    for t in range(length):
        trained = np.uint32(touched_N[t])
        score = sums_N[trained] * factor_N[trained] if len(factor_N) else sums_N[trained]
        row = int(current_N[trained]) if len(current_N) else int(trained)
        keys_E[found] = key_of(score, row)  # as in `_add`
        found += score > 0 and (len(allowed_R) == 0 or allowed_R[np.uint64(row)])
        sums_N[trained], marked_N[trained] = 0.0, False
    settle_into(keys_E, found, rows_BK.shape[1], rows_BK[b], scores_BK[b])


@compiled(types.void(writes("f4"), _INTO, types.intp))
def _rank_all(sums_N: Float32Array, into: Into, b: int) -> None:
    """`_rank` where so many were touched that a look at every sum is less work than to note which; none may have moved. Empties them."""
    _, allowed_R, keys_E, rows_BK, scores_BK = into
    K = rows_BK.shape[1]
    length = collect_highest(sums_N, allowed_R[: len(sums_N)], K, keys_E)
    num = settle_into(keys_E, length, K, rows_BK[b], scores_BK[b])
    while num > 0 and scores_BK[b, num - 1] <= 0:
        num -= 1
        rows_BK[b, num], scores_BK[b, num] = -1, -np.inf
    sums_N[:] = 0.0


@compiled(types.void(_HISTORY, _MATRIX, _SUMS, _INTO))
def led_to(history: History, weights_NN: Matrix, sums_N: Sums, into: Into) -> None:
    """The best by the weighted sum of the history's rows of the matrix."""
    rows_BL, weight_BL = history
    for b in range(len(rows_BL)):
        length = 0
        for at in range(rows_BL.shape[1]):
            if rows_BL[b, at] >= 0 and weight_BL[b, at] > 0:
                length = _add(sums_N, length, weights_NN, rows_BL[b, at], weight_BL[b, at])
        _rank(sums_N, length, _ONE, into, b)


@compiled(
    types.void(
        _HISTORY,
        reads("f4"),
        _MATRIX,
        reads("f4"),
        types.intp,
        _MATRIX,
        reads("f4"),
        several(_SUMS, _SUMS),
        _INTO,
    )
)
def voted(
    history: History, rarity_N: Float32Array, postings_NU: Matrix, norm_U: Float32Array, neighbours: int,
    chosen_UN: Matrix, damping_N: Float32Array, sums: tuple[Sums, Sums], into: Into,
) -> None:  # fmt: skip
    """The best by the votes of the shoppers most like each user, see `UserCfSource`. sums: by shopper, and by item."""
    rows_BL, weight_BL = history
    sums_U, sums_N = sums
    keys_E = into[2]
    for b in range(len(rows_BL)):
        length = 0
        for at in range(rows_BL.shape[1]):
            row, weight = rows_BL[b, at], weight_BL[b, at]
            if row >= 0 and weight > 0:
                length = _add(sums_U, length, postings_NU, row, weight * rarity_N[row])
        for user in sums_U[2][:length]:
            sums_U[0][user] *= norm_U[user]
        reached = 0
        for key in keys_E[: _strongest(sums_U, length, keys_E, neighbours)]:
            user = key & 0xFFFFFFFF
            reached = _add(sums_N, reached, chosen_UN, user, sums_U[0][user])
        _empty(sums_U, length)
        _rank(sums_N, reached, damping_N, into, b)


@compiled(types.intp(_HISTORY, types.intp, writes("i4"), writes("f4")))
def _start(history: History, b: int, rows_P: Int32Array, mass_P: Float32Array) -> int:
    """The history of user b with weights that sum to 1, to the front of rows_P and mass_P; how many events that are."""
    rows_BL, weight_BL = history
    length, total = 0, np.float32(0.0)
    for at in range(rows_BL.shape[1]):
        if rows_BL[b, at] >= 0 and weight_BL[b, at] > 0:
            rows_P[length], mass_P[length] = rows_BL[b, at], weight_BL[b, at]
            total += weight_BL[b, at]
            length += 1
    mass_P[:length] *= np.float32(1.0) / total
    return length


@compiled(
    types.void(
        _HISTORY, several(types.float32, types.float32), types.intp, types.intp, several(*(_MATRIX,) * 4),
        several(*(_SUMS,) * 3), writes("f4", 2), _INTO,
    )
)  # fmt: skip
def walked(
    history: History, odds: tuple[float, float], steps: int, beam: int, ways: tuple[Matrix, Matrix, Matrix, Matrix],
    sums: tuple[Sums, Sums, Sums], delta_BM: Float32Array, into: Into,
) -> None:  # fmt: skip
    """The best of the trained items by the walk of `KnowledgeGraphSource`, and to delta_BM is added what the delta items have.

    odds: together, damping. beam: items that a further step goes on from. ways: to_entity [N, E], to_item [E, N], together [N, N], and to
    the delta items [E, M]. sums: by entity, by item of one step, and by item of all.
    """
    together, damping = odds
    to_entity_NE, to_item_EN, together_NN, to_delta_EM = ways
    sums_E, sums_N, total_N = sums
    keys_E = into[2]
    most, num_items = max(beam, history[0].shape[1]), len(together_NN[2]) - 1
    rows_P, mass_P = np.empty(most, np.int32), np.empty(most, np.float32)
    for b in range(len(delta_BM)):
        num = _start(history, b, rows_P, mass_P)
        total, worth = 0, np.float32(1.0)
        for _ in range(steps):
            entities, length = 0, 0
            for p in range(num):
                entities = _add(sums_E, entities, to_entity_NE, rows_P[p], mass_P[p])
                length = _add(sums_N, length, together_NN, rows_P[p], together * mass_P[p])
            reached = length
            for entity in sums_E[2][:entities]:
                reached += to_item_EN[2][entity + 1] - to_item_EN[2][entity]
            looks_at_all = steps == 1 and len(into[0]) == 0 and reached * NOTING > num_items
            for entity in sums_E[2][:entities]:
                mass = (np.float32(1.0) - together) * sums_E[0][entity]
                if looks_at_all:
                    _spread(sums_N[0], to_item_EN, entity, mass)
                else:
                    length = _add(sums_N, length, to_item_EN, entity, mass)
                if delta_BM.shape[1]:
                    for place in range(to_delta_EM[2][entity], to_delta_EM[2][entity + 1]):
                        delta_BM[b, to_delta_EM[1][place]] += worth * mass * to_delta_EM[0][place]
            _empty(sums_E, entities)
            if looks_at_all:
                for row in sums_N[2][:length]:
                    sums_N[1][row] = False
                _rank_all(sums_N[0][:num_items], into, b)
                break
            if steps == 1:
                _rank(sums_N, length, _ONE, into, b)
                break
            for row in sums_N[2][:length]:
                total_N[0][row] += worth * sums_N[0][row]
                if not total_N[1][row]:
                    total_N[1][row] = True
                    total_N[2][total] = row
                    total += 1
            num = _strongest(sums_N, length, keys_E, beam)
            for p in range(num):
                rows_P[p] = keys_E[p] & 0xFFFFFFFF
                mass_P[p] = sums_N[0][rows_P[p]]
            _empty(sums_N, length)
            worth *= damping
        _rank(total_N, total, _ONE, into, b)
