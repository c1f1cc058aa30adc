"""The highest of many scores by a first look through vectors of eight bits, whose error is known: what may be among the highest is then
measured in float32. Shapes: N items, D dim, B users, W users padded to a WIDTH, S sample of the items, E rows, K results.
"""

from __future__ import annotations

import numpy as np
from numba import types

from app.compiled import compiled, reads, several, writes
from app.model.int8 import WIDTH, Int8Array, products
from app.retrieval.selection import EVERY, NO_KEY, STRIDE, key_of, place_in_sample, settle_into
from app.types import BoolArray, Float32Array, Int32Array, Int64Array

ITEM_LEVELS, USER_LEVELS = 127, 63  # see `products`
MOST = 64  # users looked for at once
BLOCK = 16_384  # items of a product, so that its sums stay in the processor's cache
GROUP = 8  # of the sample
SURE = 5.0  # standard deviations of what rounding does to a score
SPREAD = 12**-0.5  # standard deviation of what rounding does to a number
LEAST_SCALE = np.float32(1e-30)

# rows_BE, filled from the front, and how many num_B there are, also those beyond E
Rows = tuple[Int64Array, Int64Array]


class QuantisedVectors:
    """Scalar quantisation: a vector is its scale times whole numbers, and a user likewise, so that their product is one of int8."""

    def __init__(self, vectors_ND: Float32Array) -> None:
        """vectors_ND: kept by reference. Takes a quarter of their memory besides, and 0.1 s for 100,000 of 128 dimensions."""
        N = len(vectors_ND)
        codes_ND, scale_N = np.empty(vectors_ND.shape, np.int8), np.empty(N, np.float32)
        self._vectors_ND, self._longest = vectors_ND, 0.0
        for start in range(0, N, BLOCK):
            at = slice(start, start + BLOCK)
            codes_ND[at], scale_N[at] = quantised(np.asarray(vectors_ND[at]), ITEM_LEVELS)
            self._longest = max(self._longest, float(np.linalg.norm(codes_ND[at].astype(np.float32), axis=1).max()))
        self._sampled_S = np.sort(np.random.default_rng(0).permutation(N)[: N // STRIDE // GROUP * GROUP])
        self._codes_ND, self._codes_SD = codes_ND, codes_ND[self._sampled_S]
        self._scale_S, self._steps_N = scale_N[self._sampled_S], np.reciprocal(scale_N)

    def search(
        self, users_BD: Float32Array, allowed_N: BoolArray, rows_BK: Int64Array, scores_BK: Float32Array
    ) -> Int64Array:
        """Puts the highest of each user, best first, to the front of rows_BK and scores_BK; returns the users of whom that is not sure.
        allowed_N: rows that may be found; EVERY, all."""
        unsure = []
        for start in range(0, len(users_BD), MOST):
            at = slice(start, start + MOST)
            unsure.append(start + self._search(users_BD[at], allowed_N, rows_BK[at], scores_BK[at]))
        return np.concatenate(unsure)

    def _search(
        self, users_BD: Float32Array, allowed_N: BoolArray, rows_BK: Int64Array, scores_BK: Float32Array
    ) -> Int64Array:
        (B, K), N = rows_BK.shape, len(self._steps_N)
        codes_BD, scale_B = quantised(users_BD, USER_LEVELS)
        W = 1 if B == 1 else -(-B // WIDTH) * WIDTH
        codes_DW = np.zeros((users_BD.shape[1], W), np.int8)
        codes_DW[:, :B] = codes_BD.T
        least_W, hidden_W = self._guessed(codes_DW, allowed_N, K), np.zeros(W, np.float32)
        least_W[B:] = np.inf
        hidden_W[:B] = SURE * SPREAD * np.hypot(np.linalg.norm(users_BD, axis=1) / scale_B, self._longest)
        found: Rows = np.empty((B, min(4 * K + 40 * STRIDE, N)), np.int64), np.zeros(B, np.int64)
        for start in range(0, N, BLOCK):
            at = slice(start, start + BLOCK)
            sums_NW = products(self._codes_ND[at], codes_DW)
            _collect(sums_NW, start, self._steps_N[at], allowed_N[at], least_W, hidden_W, found)
        sure_B = np.zeros(B, np.bool_)
        _measure(users_BD, self._vectors_ND, least_W[:B] * scale_B, found, rows_BK, scores_BK, sure_B)
        return np.flatnonzero(~sure_B)

    def _guessed(self, codes_DW: Int8Array, allowed_N: BoolArray, K: int) -> Float32Array:
        """What the K highest very likely reach [W], in units of the user's scale, by the highest of each GROUP of the sample; inf where there
        are too few of them."""
        place = place_in_sample(K)
        allowed_S = allowed_N[self._sampled_S] if len(allowed_N) else EVERY
        highest_GW = np.full((len(self._scale_S) // GROUP, codes_DW.shape[1]), -np.inf, np.float32)
        _find_highest(products(self._codes_SD, codes_DW), self._scale_S, allowed_S, highest_GW)
        highest_WG = np.ascontiguousarray(highest_GW.T)
        if place > highest_WG.shape[1]:
            return np.full(len(highest_WG), np.inf, np.float32)
        least_W: Float32Array = np.partition(highest_WG, -place, axis=1)[:, -place]
        return np.where(np.isfinite(least_W), least_W, np.float32(np.inf))


def quantised(vectors_ND: Float32Array, levels: int) -> tuple[Int8Array, Float32Array]:
    """Whole numbers between -levels and levels, and the scale of each vector [N]. One with a component that is no finite number is zero."""
    with np.errstate(invalid="ignore"):
        scale_N = np.maximum(np.abs(vectors_ND).max(1, initial=0.0) / np.float32(levels), LEAST_SCALE)
        known_N = np.isfinite(scale_N)
        scale_N = np.where(known_N, scale_N, LEAST_SCALE)
        codes_ND = np.rint(np.where(known_N[:, None], vectors_ND, np.float32(0.0)) / scale_N[:, None])
    return codes_ND.astype(np.int8), scale_N


@compiled(types.void(reads("i4", 2), reads("f4"), reads("b1"), writes("f4", 2)))
def _find_highest(sums_SW: Int32Array, scale_S: Float32Array, allowed_S: BoolArray, highest_GW: Float32Array) -> None:
    """Of the scores of each group, for each user; highest_GW: -inf before."""
    for s in range(len(sums_SW)):
        if len(allowed_S) == 0 or allowed_S[s]:
            highest_W = highest_GW[s // GROUP]
            for w in range(len(highest_W)):
                score = np.float32(sums_SW[s, w]) * scale_S[s]
                highest_W[w] = score if score > highest_W[w] else highest_W[w]


_ROWS = several(writes("i8", 2), writes("i8"))


@compiled(types.void(reads("i4", 2), types.intp, reads("f4"), reads("b1"), reads("f4"), reads("f4"), _ROWS))
def _collect(
    sums_NW: Int32Array, start: int, steps_N: Float32Array, allowed_N: BoolArray, least_W: Float32Array,
    hidden_W: Float32Array, found: Rows,
) -> None:  # fmt: skip
    """Adds to each user's rows those of this block, from row `start`, that may reach the least score. least_W: in units of the user's
    scale; hidden_W: how much higher a sum may be than it looks. steps_N: of the item in a unit of score."""
    rows_BE, num_B = found
    W, (B, E) = len(least_W), rows_BE.shape
    for n in range(len(sums_NW)):
        step, reach = steps_N[n], np.int32(0)
        for w in range(W):  # without a branch, so that all users are compared at once
            reach += np.int32(np.float32(sums_NW[n, w]) + hidden_W[w] >= least_W[w] * step)
        if reach == 0 or (len(allowed_N) > 0 and not allowed_N[n]):
            continue
        for b in range(B):
            if np.float32(sums_NW[n, b]) + hidden_W[b] >= least_W[b] * step:
                if num_B[b] < E:
                    rows_BE[b, num_B[b]] = start + n
                num_B[b] += 1


@compiled(types.float32(reads("f4"), reads("f4")), any_order=True)
def _dot(a_D: Float32Array, b_D: Float32Array) -> float:
    total = np.float32(0.0)
    for d in range(len(a_D)):
        total += a_D[d] * b_D[d]
    return total  # type: ignore[return-value]


@compiled(
    types.void(reads("f4", 2), reads("f4", 2), reads("f4"), _ROWS, writes("i8", 2), writes("f4", 2), writes("b1"))
)
def _measure(
    users_BD: Float32Array, vectors_ND: Float32Array, least_B: Float32Array, found: Rows, rows_BK: Int64Array,
    scores_BK: Float32Array, sure_B: BoolArray,
) -> None:  # fmt: skip
    """The best of the rows found, which become keys, to the front. Sure where all K reach the least score, which no other row does."""
    keys_BE, num_B = found
    K = rows_BK.shape[1]
    for b in range(len(users_BD)):
        if not K <= num_B[b] <= keys_BE.shape[1]:
            continue
        length = 0
        for e in range(num_B[b]):
            row = keys_BE[b, e]
            key = key_of(_dot(users_BD[b], vectors_ND[row]), row)
            if key != NO_KEY:
                keys_BE[b, length] = key
                length += 1
        sure_B[b] = (
            settle_into(keys_BE[b], length, K, rows_BK[b], scores_BK[b]) == K and scores_BK[b, K - 1] >= least_B[b]
        )
