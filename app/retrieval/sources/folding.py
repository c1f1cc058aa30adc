"""Vectors of a user out of the vectors of their history, compiled: one call for all users of a batch.

A history is rows_BL, -1 where there is nothing, and weight_BL; a weight of 0 or less leaves no trace. Shapes: B users, L history, N
trained items, M delta items, D dim, F factors.
"""

from __future__ import annotations

import numpy as np
from numba import types

from app.compiled import compiled, reads, writes
from app.types import Float32Array, Int32Array


@compiled(types.void(reads("i4", 2), reads("f4", 2), reads("f4", 2), reads("f4", 2), writes("f4", 2)))
def add_vectors(
    rows_BL: Int32Array, weight_BL: Float32Array, vectors_ND: Float32Array, delta_MD: Float32Array, out_BD: Float32Array
) -> None:
    """Adds to each user's line the vectors of their history times the weights. Rows from N up are of the delta."""
    N, D = vectors_ND.shape
    for b in range(len(rows_BL)):
        for at in range(rows_BL.shape[1]):
            row, weight = rows_BL[b, at], weight_BL[b, at]
            if row < 0 or not weight > 0:
                continue
            vector_D = vectors_ND[row] if row < N else delta_MD[row - N]
            for d in range(D):
                out_BD[b, d] += weight * vector_D[d]


@compiled(types.void(writes("f4", 2), writes("f4", 2), writes("f4")))
def _solve(system_FF: Float32Array, upper_FF: Float32Array, wanted_F: Float32Array) -> None:
    """Of a symmetric system, overwritten, the solution in wanted_F: L D L^T. upper_FF: overwritten with the columns of L as lines.

    Whole lines are worked on, zeros included: that is faster than what is left of them, because it is a round number.
    """
    F = len(wanted_F)
    for k in range(F):
        upper_F, inverse = upper_FF[k], np.float32(1.0) / system_FF[k, k]
        for i in range(F):
            upper_F[i] = system_FF[k, i] * inverse if i > k else np.float32(0.0)
        for i in range(k + 1, F):
            times = system_FF[k, i]
            for j in range(F):
                system_FF[i, j] -= times * upper_F[j]
        known = wanted_F[k]
        for i in range(F):
            wanted_F[i] -= upper_F[i] * known
    for k in range(F - 1, -1, -1):
        known = wanted_F[k] / system_FF[k, k]
        for i in range(k + 1, F):
            known -= upper_FF[k, i] * wanted_F[i]
        wanted_F[k] = known


@compiled(types.void(reads("i4", 2), reads("f4", 2), reads("f4", 2), reads("f4", 2), types.float32, writes("f4", 2)))
def fold_in(
    rows_BL: Int32Array, weight_BL: Float32Array, factors_NF: Float32Array, gram_FF: Float32Array, confidence: float,
    user_BF: Float32Array,
) -> None:  # fmt: skip
    """The least-squares user for these events into user_BF, zero before; an event of weight w counts as w of an event. A user without
    events stays zero. See `MatrixFactorisationSource`."""
    F, L = len(gram_FF), rows_BL.shape[1]
    system_FF, factors_PF, weight_P = (
        np.empty((F, F), np.float32),
        np.empty((L + 3, F), np.float32),
        np.empty(L + 3, np.float32),
    )
    upper_FF = np.empty((F, F), np.float32)
    for b in range(len(rows_BL)):
        events = 0
        for at in range(L):
            row, weight = rows_BL[b, at], weight_BL[b, at]
            if row >= 0 and weight > 0:
                factors_PF[events], weight_P[events] = factors_NF[row], weight
                events += 1
        if not events:
            continue
        wanted_F = user_BF[b]
        for p in range(events):
            for i in range(F):
                wanted_F[i] += weight_P[p] * confidence * factors_PF[p, i]
        factors_PF[events : events + 3], weight_P[events : events + 3] = 0.0, 0.0
        system_FF[:] = gram_FF
        for p in range(0, events, 4):
            f0, f1, f2, f3 = factors_PF[p], factors_PF[p + 1], factors_PF[p + 2], factors_PF[p + 3]
            w0, w1, w2, w3 = weight_P[p], weight_P[p + 1], weight_P[p + 2], weight_P[p + 3]
            for i in range(F):
                a0, a1, a2, a3 = w0 * f0[i], w1 * f1[i], w2 * f2[i], w3 * f3[i]
                for j in range(F):
                    system_FF[i, j] += (confidence - np.float32(1.0)) * (
                        a0 * f0[j] + a1 * f1[j] + a2 * f2[j] + a3 * f3[j]
                    )
        _solve(system_FF, upper_FF, wanted_F)
