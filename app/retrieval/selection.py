"""The highest of many scores, compiled. A score and the row it belongs to are one *key*, an int64 whose order is: higher scores first,
among equal ones the lower row. Shapes: B users, N scores of each, E keys, K results.
"""

from __future__ import annotations

import numpy as np
from numba import types

from app.compiled import compiled, reads, writes
from app.types import BoolArray, Float32Array, Int64Array

STRIDE = 16  # of the sample by which is guessed how high the highest are
SHORT, LONG = 24, 1024  # keys that are not worth parting; that are better sorted by comparing
INFINITY = 0x7F800000  # bits of a float32
NO_KEY, HIGHEST_BIT = np.iinfo(np.int64).max, np.iinfo(np.int64).min
EVERY = np.empty(0, np.bool_)  # a mask that keeps everything, for functions that cannot be given None


@compiled(types.int64(types.float32, types.int64))
def key_of(score: float, row: int) -> int:
    """row: 0 to 2^31. Negative zero is zero. NO_KEY, which comes last, for NaN and -inf."""
    bits: int = types.int64(np.float32(score).view(np.int32))  # type: ignore[assignment]
    if bits < 0:
        bits = -(bits & 0x7FFFFFFF)
    if bits > INFINITY or bits <= -INFINITY:
        return NO_KEY
    return (-bits << 32) | row


@compiled(types.float32(types.int64))
def score_of(key: int) -> float:
    bits = -(key >> 32)
    size: float = np.int32(abs(bits)).view(np.float32)  # type: ignore[assignment]
    return -size if bits < 0 else size


@compiled(types.void(writes("i8"), types.intp, types.intp))
def part(keys_E: Int64Array, length: int, num: int) -> None:
    """Puts the num first of `length` keys before the others, in any order (Hoare's selection)."""
    low, high = 0, length - 1
    while high - low > SHORT and low < num <= high:
        a, b, c = keys_E[low], keys_E[(low + high) // 2], keys_E[high]
        pivot = max(min(a, b), min(max(a, b), c))
        i, j = low, high
        while i <= j:
            while keys_E[i] < pivot:
                i += 1
            while keys_E[j] > pivot:
                j -= 1
            if i <= j:
                keys_E[i], keys_E[j] = keys_E[j], keys_E[i]
                i += 1
                j -= 1
        if num <= j:
            high = j
        elif num > i:
            low = i
        else:
            return
    if low < num <= high:
        keys_E[low : high + 1].sort()


@compiled(types.intp(types.intp))
def place_in_sample(num: int) -> int:
    """Place of a score, among every STRIDE-th, that the num highest of all very likely reach."""
    return (num + num // 4) // STRIDE + 10


@compiled(types.intp(writes("i8"), types.intp, types.intp))
def _narrow(keys_E: Int64Array, length: int, num: int) -> int:
    """Puts those keys to the front that, by a sample, may be among the num first; how many there are, which is num or more."""
    sample_S = keys_E[:length:STRIDE].copy()
    place = place_in_sample(num)
    if length <= 2 * num or place >= len(sample_S):
        return length
    part(sample_S, len(sample_S), place)
    last = sample_S[:place].max()
    found = 0
    for e in range(length):
        key, other = keys_E[e], keys_E[found]
        kept = key <= last
        keys_E[e] = other if kept else key
        keys_E[found] = key if kept else other
        found += kept
    return found if found >= num else length


@compiled(types.void(writes("i8"), types.intp))
def _sort(keys_E: Int64Array, length: int) -> None:
    """The first `length` keys by the score, byte for byte, then, among equal scores, by the row."""
    if length < SHORT or length > LONG:
        keys_E[:length].sort()
        return
    count_4D = np.zeros((4, 256), np.int32)
    for e in range(length):
        key = keys_E[e] ^ HIGHEST_BIT
        for byte in range(4):
            count_4D[byte, (key >> (32 + 8 * byte)) & 0xFF] += 1
    here_E, there_E, moved = keys_E[:length], np.empty(length, np.int64), False
    for byte in range(4):
        count_D, shift = count_4D[byte], 32 + 8 * byte
        if count_D[((here_E[0] ^ HIGHEST_BIT) >> shift) & 0xFF] == length:
            continue
        start = 0
        for digit in range(256):
            count = count_D[digit]
            count_D[digit] = start
            start += count
        for e in range(length):
            digit = ((here_E[e] ^ HIGHEST_BIT) >> shift) & 0xFF
            there_E[count_D[digit]] = here_E[e]
            count_D[digit] += 1
        here_E, there_E, moved = there_E, here_E, not moved
    if moved:
        keys_E[:length] = here_E
    for e in range(1, length):
        key, place = keys_E[e], e
        while place > 0 and keys_E[place - 1] > key:
            keys_E[place] = keys_E[place - 1]
            place -= 1
        keys_E[place] = key


@compiled(types.intp(writes("i8"), types.intp, types.intp))
def settle(keys_E: Int64Array, length: int, num: int) -> int:
    """The num first of `length` keys at the front, in order; how many that is."""
    num = min(num, length)
    length = _narrow(keys_E, length, num)
    if length > 2 * num:
        part(keys_E, length, num)
        length = num
    _sort(keys_E, length)
    return num


@compiled(types.intp(writes("i8"), types.intp, types.intp, writes("i8"), writes("f4")))
def settle_into(keys_E: Int64Array, length: int, num: int, rows_K: Int64Array, scores_K: Float32Array) -> int:
    """`settle`, and the rows and scores of these keys to the front of the other two; how many that are."""
    num = settle(keys_E, length, min(num, len(rows_K)))
    for k in range(num):
        rows_K[k] = keys_E[k] & 0xFFFFFFFF
        scores_K[k] = score_of(keys_E[k])
    return num


@compiled(types.intp(reads("f4"), reads("b1"), types.float32, writes("i8")))
def _collect(scores_N: Float32Array, allowed_N: BoolArray, least: float, keys_N: Int64Array) -> int:
    """The keys of all allowed scores from `least` up, columns rising; how many they are."""
    length = 0
    for n in range(len(scores_N)):
        if scores_N[n] >= least and (len(allowed_N) == 0 or allowed_N[n]):
            key = key_of(scores_N[n], n)
            if key != NO_KEY:
                keys_N[length] = key
                length += 1
    return length


@compiled(types.float32(reads("f4"), reads("b1"), types.intp, types.intp, writes("i8")))
def _least_of_sample(
    sample_S: Float32Array, allowed_S: BoolArray, num_scores: int, num: int, keys_N: Int64Array
) -> float:
    """What the num highest of num_scores very likely reach, by every STRIDE-th of them; -inf where all must be looked at."""
    place = place_in_sample(num)
    if num_scores <= 4 * num or place >= len(sample_S):
        return -np.inf
    length = _collect(sample_S, allowed_S, -np.inf, keys_N)
    if length <= place:
        return -np.inf
    part(keys_N, length, place)
    last = keys_N[0]
    for e in range(1, place):
        last = max(last, keys_N[e])
    return score_of(last)


@compiled(types.intp(reads("f4"), reads("b1"), types.intp, writes("i8")))
def collect_highest(scores_N: Float32Array, allowed_N: BoolArray, num: int, keys_N: Int64Array) -> int:
    """Keys to the front, in any order, of which the num first are the highest of all allowed; how many they are."""
    least = _least_of_sample(scores_N[::STRIDE].copy(), allowed_N[::STRIDE].copy(), len(scores_N), num, keys_N)
    length = _collect(scores_N, allowed_N, least, keys_N)
    if length < num and least > -np.inf:
        length = _collect(scores_N, allowed_N, -np.inf, keys_N)
    return length


@compiled(types.void(reads("f4", 2), reads("b1"), writes("i8"), writes("i8", 2), writes("f4", 2)))
def best_of_lines(
    scores_BN: Float32Array, allowed_N: BoolArray, keys_N: Int64Array, rows_BK: Int64Array, scores_BK: Float32Array
) -> None:
    """The columns and scores of the highest of each line, best first, to the front of rows_BK and scores_BK. -inf and NaN are never among
    them. allowed_N: columns that may be; EVERY, all. keys_N: overwritten."""
    for b in range(len(scores_BN)):
        length = collect_highest(scores_BN[b], allowed_N, rows_BK.shape[1], keys_N)
        settle_into(keys_N, length, rows_BK.shape[1], rows_BK[b], scores_BK[b])


@compiled(types.void(reads("f4", 2), reads("b1"), writes("i8"), writes("i8", 2), writes("i8", 2), writes("f4", 2)))
def best_of_columns(
    scores_NB: Float32Array,
    allowed_N: BoolArray,
    keys_N: Int64Array,
    keys_BE: Int64Array,
    rows_BK: Int64Array,
    scores_BK: Float32Array,
) -> None:
    """`best_of_lines` for scores that lie the other way round, read once for all users. keys_BE: overwritten; E a few times K, or a user
    takes a pass of their own."""
    N, B = scores_NB.shape
    K = rows_BK.shape[1]
    E = keys_BE.shape[1]
    least_B = np.empty(B, np.float32)
    length_B = np.zeros(B, np.int64)
    sample_S = np.empty((N + STRIDE - 1) // STRIDE, np.float32)
    allowed_S = allowed_N[::STRIDE].copy()
    for b in range(B):
        for s in range(len(sample_S)):
            sample_S[s] = scores_NB[s * STRIDE, b]
        least_B[b] = _least_of_sample(sample_S, allowed_S, N, K, keys_N)
    for n in range(N):
        if len(allowed_N) and not allowed_N[n]:
            continue
        for b in range(B):
            if scores_NB[n, b] >= least_B[b]:
                key = key_of(scores_NB[n, b], n)
                if key != NO_KEY:
                    if length_B[b] < E:
                        keys_BE[b, length_B[b]] = key
                    length_B[b] += 1
    for b in range(B):
        if length_B[b] <= E and (length_B[b] >= K or least_B[b] == -np.inf):
            settle_into(keys_BE[b], length_B[b], K, rows_BK[b], scores_BK[b])
        else:
            length = _collect(scores_NB[:, b].copy(), allowed_N, -np.inf, keys_N)
            settle_into(keys_N, length, K, rows_BK[b], scores_BK[b])
