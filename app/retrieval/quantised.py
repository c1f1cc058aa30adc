"""The highest of many scores by a first look through vectors of eight bits, whose error is known: what may be among the highest is then
measured in float32. Shapes: N items, D dim, B users, W users padded to a WIDTH, S sample of the items, E rows, K results.
"""

from __future__ import annotations

import math

import numpy as np
from numba import types

from app.compiled import compiled, reads, several, writes
from app.model.int8 import WIDTH, Int8Array, products
from app.processor import INT8
from app.retrieval.selection import NO_KEY, STRIDE, key_of, part, place_in_sample, score_of, settle_into
from app.types import BoolArray, Float32Array, Int32Array, Int64Array, UInt8Array

ITEM_LEVELS, USER_LEVELS = 127, 63  # see `products`
MOST = 64 if INT8 else 1  # users looked for at once
BLOCK = 16_384  # items of a product, so that its sums stay in the processor's cache
GROUP = 8  # of the sample
AT_ONCE = 256  # items compared before their answers are looked at
SURE = 5.0  # standard deviations of what rounding does to a score
SPREAD = 12**-0.5  # standard deviation of what rounding does to a number
LEAST_SCALE = np.float32(1e-30)
BINS = 256  # between the least and the highest score, to tell how high the highest reach

# rows_BE, filled from the front, their sums_BE and steps_BE, and how many num_B there are, also those beyond E
Rows = tuple[Int64Array, Float32Array, Float32Array, Int64Array]


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
        (B, K), N, D = rows_BK.shape, len(self._steps_N), users_BD.shape[1]
        W = 1 if B == 1 else -(-B // WIDTH) * WIDTH
        codes_DW, scale_B, hidden_W = np.zeros((D, W), np.int8), np.empty(B, np.float32), np.zeros(W, np.float32)
        _quantise(users_BD, self._longest, codes_DW, scale_B, hidden_W)
        least_W = np.full(W, np.inf, np.float32)
        self._guess(codes_DW, allowed_N, K, least_W[:B])
        shape = (B, min(4 * K + 40 * STRIDE, N))
        sums_steps = np.empty(shape, np.float32), np.empty(shape, np.float32)
        found: Rows = np.empty(shape, np.int64), *sums_steps, np.zeros(B, np.int64)
        for start in range(0, N, BLOCK):
            at = slice(start, start + BLOCK)
            sums_NW = products(self._codes_ND[at], codes_DW)
            _collect(sums_NW, start, self._steps_N[at], allowed_N[at], least_W, hidden_W, found)
        sure_B = np.zeros(B, np.bool_)
        _measure(users_BD, scale_B, self._vectors_ND, least_W, hidden_W, found, rows_BK, scores_BK, sure_B)
        return np.flatnonzero(~sure_B)

    def _guess(self, codes_DW: Int8Array, allowed_N: BoolArray, K: int, least_B: Float32Array) -> None:
        """Puts what the K highest very likely reach into least_B, in units of the user's scale, by the highest of each GROUP of the sample;
        leaves inf where there are too few of them."""
        sums_SW = products(self._codes_SD, codes_DW)
        _find_least(sums_SW, self._scale_S, self._sampled_S, allowed_N, place_in_sample(K), least_B)


def quantised(vectors_ND: Float32Array, levels: int) -> tuple[Int8Array, Float32Array]:
    """Whole numbers between -levels and levels, and the scale of each vector [N]. One with a component that is no finite number is zero."""
    with np.errstate(invalid="ignore"):
        scale_N = np.maximum(np.abs(vectors_ND).max(1, initial=0.0) / np.float32(levels), LEAST_SCALE)
        known_N = np.isfinite(scale_N)
        scale_N = np.where(known_N, scale_N, LEAST_SCALE)
        codes_ND = np.rint(np.where(known_N[:, None], vectors_ND, np.float32(0.0)) / scale_N[:, None])
    return codes_ND.astype(np.int8), scale_N


@compiled(types.void(reads("f4", 2), types.float64, writes("i1", 2), writes("f4"), writes("f4")))
def _quantise(
    users_BD: Float32Array, longest: float, codes_DW: Int8Array, scale_B: Float32Array, hidden_W: Float32Array
) -> None:
    """`quantised` of users, column by column, and how much higher a sum may be than it looks. longest: of the items' codes."""
    B, D = users_BD.shape
    for b in range(B):
        most, squares = np.float32(0.0), 0.0
        for d in range(D):
            most = max(most, abs(users_BD[b, d]))
            squares += users_BD[b, d] * users_BD[b, d]
        scale = max(most / np.float32(USER_LEVELS), LEAST_SCALE)
        known = math.isfinite(squares)  # and so is each number
        scale_B[b] = scale if known else LEAST_SCALE
        for d in range(D):
            codes_DW[d, b] = np.int8(np.rint(users_BD[b, d] / scale)) if known else np.int8(0)
        hidden_W[b] = SURE * SPREAD * math.hypot(math.sqrt(squares) / scale_B[b], longest) if known else np.inf


@compiled(types.void(reads("i4", 2), reads("f4"), reads("i8"), reads("b1"), types.intp, writes("f4")))
def _find_least(
    sums_SW: Int32Array, scale_S: Float32Array, sampled_S: Int64Array, allowed_N: BoolArray, place: int, least_B: Float32Array
) -> None:  # fmt: skip
    """Of the highest scores of each group, that at this place, for each user; nothing where there are fewer."""
    num_groups, W = len(scale_S) // GROUP, sums_SW.shape[1]
    highest_GW = np.full((num_groups, W), -np.inf, np.float32)
    for g in range(num_groups):
        highest_W = highest_GW[g]
        for s in range(g * GROUP, (g + 1) * GROUP):
            if len(allowed_N) == 0 or allowed_N[sampled_S[s]]:
                for w in range(W):
                    score = np.float32(sums_SW[s, w]) * scale_S[s]
                    highest_W[w] = score if score > highest_W[w] else highest_W[w]
    keys_G = np.empty(num_groups, np.int64)
    for b in range(len(least_B)):
        length = 0
        for g in range(num_groups):
            keys_G[length] = key_of(highest_GW[g, b], 0)
            length += keys_G[length] != NO_KEY
        if length >= place:
            part(keys_G, length, place)
            least_B[b] = score_of(keys_G[:place].max())


_ROWS = several(writes("i8", 2), writes("f4", 2), writes("f4", 2), writes("i8"))


@compiled(types.int64(types.int64))
def _exponent(power_of_two: int) -> int:
    return int((np.float64(power_of_two).view(np.int64) >> 52) & 0x7FF) - 1023


@compiled(types.void(reads("i4", 2), reads("f4"), reads("f4"), reads("f4"), writes("u1", 2)))
def _compare(
    sums_RW: Int32Array, steps_R: Float32Array, least_W: Float32Array, hidden_W: Float32Array, hits_RW: UInt8Array
) -> None:
    """1 where the least score may be reached. One user is compared with several items at once, several users with one item."""
    R, W = sums_RW.shape
    if W == 1:
        sums_R, hits_R, least, hidden = sums_RW.ravel(), hits_RW.ravel(), least_W[0], hidden_W[0]
        for r in range(R):
            hits_R[r] = np.float32(sums_R[r]) + hidden >= least * steps_R[r]
        return
    for r in range(R):
        step = steps_R[r]
        for w in range(W):
            hits_RW[r, w] = np.float32(sums_RW[r, w]) + hidden_W[w] >= least_W[w] * step


@compiled(types.void(reads("i4", 2), types.intp, reads("f4"), reads("b1"), reads("f4"), reads("f4"), _ROWS))
def _collect(
    sums_NW: Int32Array, start: int, steps_N: Float32Array, allowed_N: BoolArray, least_W: Float32Array,
    hidden_W: Float32Array, found: Rows,
) -> None:  # fmt: skip
    """Adds to each user's rows those of this block, from row `start`, that may reach the least score. least_W: in units of the user's
    scale; hidden_W: how much higher a sum may be than it looks. steps_N: of the item in a unit of score. W: 1, or several times 8.

    All is compared without a branch; then eight answers are looked at as one number, which is 0 as a rule.
    """
    rows_BE, sums_BE, steps_BE, num_B = found
    E, (N, W) = rows_BE.shape[1], sums_NW.shape
    hits_RW = np.zeros((AT_ONCE, W), np.uint8)
    words = hits_RW.ravel().view(np.int64)
    for first in range(0, N, AT_ONCE):
        last = min(first + AT_ONCE, N)
        _compare(sums_NW[first:last], steps_N[first:last], least_W, hidden_W, hits_RW)
        hits_RW[last - first :] = 0
        for at in range(((last - first) * W + 7) // 8):
            word = words[at]
            while word != 0:
                lowest = word & -word
                hit = 8 * at + (_exponent(lowest) >> 3)
                word ^= lowest
                n, b = first + hit // W, hit % W
                if len(allowed_N) == 0 or allowed_N[n]:
                    e = num_B[b]
                    if e < E:
                        rows_BE[b, e], sums_BE[b, e], steps_BE[b, e] = start + n, sums_NW[n, b], steps_N[n]
                    num_B[b] += 1


@compiled(types.float32(reads("f4"), reads("f4")), any_order=True)
def _dot(a_D: Float32Array, b_D: Float32Array) -> float:
    total = np.float32(0.0)
    for d in range(len(a_D)):
        total += a_D[d] * b_D[d]
    return total  # type: ignore[return-value]


@compiled(types.float32(reads("f4"), types.intp, types.float32))
def _reached(low_E: Float32Array, num: int, least: float) -> float:
    """What num of these scores reach for sure, which are at least low_E: the edge of a bin of their histogram from `least` up; that, where
    no edge is."""
    highest = np.float32(least)
    for low in low_E:
        highest = low if low > highest else highest
    if not math.isfinite(highest):
        return least
    per_bin = np.float32(BINS - 1) / max(highest - np.float32(least), LEAST_SCALE)
    count_B = np.zeros(BINS, np.int32)
    for low in low_E:
        if low >= least:
            count_B[int((low - least) * per_bin)] += 1
    reach = 0
    for bin_ in range(BINS - 1, 0, -1):
        reach += count_B[bin_]
        if reach >= num:
            return least + np.float32(bin_) / per_bin  # type: ignore[return-value]
    return least


@compiled(
    types.void(
        reads("f4", 2), reads("f4"), reads("f4", 2), reads("f4"), reads("f4"), _ROWS, writes("i8", 2), writes("f4", 2),
        writes("b1"),
    )
)  # fmt: skip
def _measure(
    users_BD: Float32Array, scale_B: Float32Array, vectors_ND: Float32Array, least_W: Float32Array, hidden_W: Float32Array,
    found: Rows, rows_BK: Int64Array, scores_BK: Float32Array, sure_B: BoolArray,
) -> None:  # fmt: skip
    """The best of the rows found, of which those are measured that may reach what K do. Sure where all K reach the least score, which no
    other row does."""
    keys_BE, sums_BE, steps_BE, num_B = found
    K = rows_BK.shape[1]
    for b in range(len(users_BD)):
        num = num_B[b]
        if not K <= num <= keys_BE.shape[1]:
            continue
        steps_E = steps_BE[b, :num]
        least = _reached((sums_BE[b, :num] - hidden_W[b]) / steps_E, K, least_W[b])
        high_E = (sums_BE[b, :num] + hidden_W[b]) / steps_E
        left = 0
        for e in range(num):
            keys_BE[b, left] = keys_BE[b, e]
            left += high_E[e] >= least
        length = 0
        for e in range(left):
            row = keys_BE[b, e]
            key = key_of(_dot(users_BD[b], vectors_ND[row]), row)
            if key != NO_KEY:
                keys_BE[b, length] = key
                length += 1
        sure_B[b] = (
            settle_into(keys_BE[b], length, K, rows_BK[b], scores_BK[b]) == K
            and scores_BK[b, K - 1] >= least * scale_B[b]
        )
