"""The features that need a loop over candidates, compiled. Each function fills the rows of one group, in the order of `names.FEATURES`,
for the candidates of several cases, which stand one case behind the other: those of case b begin at start_B1[b].

A number that is not there is NaN. Shapes: B cases, C candidates of one, K of them whose features are asked for, X those of all cases, R
rows of the item space, L history, H newest of it, P text dim, W vectors that a candidate is held against, S items shown of late, T slots of a hash table.
"""

from __future__ import annotations

import math

import numpy as np
from numba import types
from numpy.typing import NDArray

from app.compiled import compiled, reads, several, writes
from app.types import Float32Array, Int32Array, Int64Array

Float64Array = NDArray[np.float64]

DEPTH = 60  # a source's score at this rank is 0, that of its first candidate 1
MAX_RANK = 1_023
BY_RANK = np.r_[0.0, 1.0 / np.log2(1.0 + np.arange(1, MAX_RANK + 1))].astype(np.float32)
LEAST_FUSED = 1e-4
LEAST_SPREAD = 0.25  # of a shopper's log prices
LEAST_SPAN, LEAST_WEIGHT = 1e-9, 1e-6
FRESH_DAYS, MAX_DAYS = 30.0, 3_650.0
HOURS_PER_DAY, SECONDS_PER_DAY = 24.0, 86_400.0
LEAST_INTERVAL_DAYS, LONGEST_DUE = 0.05, 2.0  # an item is due at 1
EMPTY = -1  # a slot without a row
NEVER_SHOWN = np.float32(-1.0)
SPREAD_BITS = 0x9E3779B1  # Fibonacci hashing: Knuth, The Art of Computer Programming 3, section 6.4


@compiled(types.void(*(writes("f4"),) * 3, reads("i4"), reads("f4"), reads("i8"), reads("f4")))
def _fill_source(
    by_rank_K: Float32Array, by_score_K: Float32Array, sources_K: Float32Array, rank_C: Int32Array, score_C: Float32Array,
    place_K: Int64Array, by_rank: Float32Array,
) -> None:  # fmt: skip
    """What one source says of the candidates at these places; its scores are held against the whole list. sources_K: counted up where it
    brought one."""
    top, least = np.float32(-np.inf), np.float32(np.inf)
    for c in range(
        len(rank_C)
    ):  # without a branch: which candidates a source brought is nothing a processor could guess
        brought = (rank_C[c] > 0) & (abs(score_C[c]) < np.inf)
        high = score_C[c] if brought else np.float32(-np.inf)
        low = score_C[c] if brought & (rank_C[c] <= DEPTH) else np.float32(np.inf)
        top, least = high if high > top else top, low if low < least else least
    if least == np.inf:
        least = np.float32(0.0)
    span = max(top - least, np.float32(LEAST_SPAN))
    for k in range(len(place_K)):
        rank = rank_C[place_K[k]]
        share = (score_C[place_K[k]] - least) / span
        share = share if (rank > 0) & (share > 0) else np.float32(0.0)
        by_score_K[k] = share if share < 1 else np.float32(1.0)
        by_rank_K[k] = by_rank[min(rank, MAX_RANK)]
        sources_K[k] += np.float32(rank > 0)


@compiled(
    types.void(
        writes("f4", 2), types.intp, reads("i8"), reads("i4", 2), reads("f4", 2), reads("f4"), reads("i8"), reads("f4")
    )
)
def fill_sources(
    out_GX: Float32Array, start: int, row_Q: Int64Array, rank_QC: Int32Array, score_QC: Float32Array, fused_C: Float32Array,
    place_K: Int64Array, by_rank: Float32Array,
) -> None:  # fmt: skip
    """Of the one case that begins at `start`: rank of each source, score of each, fused, fused and at least LEAST_FUSED, and how many
    sources; out_GX: zero. row_Q: of the sources among those, -1 for one that has none. by_rank: `BY_RANK`."""
    num, K = (len(out_GX) - 3) // 2, len(place_K)
    sources_K = out_GX[2 * num + 2, start : start + K]
    for q in range(len(row_Q)):
        if row_Q[q] >= 0:
            by_rank_K, by_score_K = out_GX[row_Q[q], start : start + K], out_GX[num + row_Q[q], start : start + K]
            _fill_source(by_rank_K, by_score_K, sources_K, rank_QC[q], score_QC[q], place_K, by_rank)
    for k in range(K):
        out_GX[2 * num, start + k] = fused_C[place_K[k]]
        out_GX[2 * num + 1, start + k] = max(fused_C[place_K[k]], np.float32(LEAST_FUSED))


@compiled(types.void(writes("f4", 3), reads("f4", 2), reads("i8")))
def add_means(asked_BPW: Float32Array, weight_BH: Float32Array, num_B: Int64Array) -> None:
    """Behind the H newest the mean of those there are, by weight."""
    H = weight_BH.shape[1]
    for b in range(len(num_B)):
        if num_B[b] == 0:
            continue
        total = np.float32(0.0)
        for h in range(num_B[b]):
            total += weight_BH[b, h]
        total = max(total, np.float32(LEAST_WEIGHT))
        for p in range(asked_BPW.shape[1]):
            summed = np.float32(0.0)
            for h in range(num_B[b]):
                summed += weight_BH[b, h] * asked_BPW[b, p, h]
            asked_BPW[b, p, H] = summed / total


@compiled(types.void(writes("f4", 2), reads("f4", 2), reads("i8"), reads("i8")))
def fill_recent(out_2X: Float32Array, alike_XW: Float32Array, start_B1: Int64Array, num_B: Int64Array) -> None:
    """Likeness to the last, and the greatest, of the first num_B columns."""
    for b in range(len(num_B)):
        num = num_B[b]
        for x in range(start_B1[b], start_B1[b + 1]):
            best = alike_XW[x, 0] if num > 0 else np.float32(np.nan)
            for h in range(1, num):
                best = max(best, alike_XW[x, h])
            out_2X[0, x], out_2X[1, x] = alike_XW[x, num - 1] if num > 0 else best, best


@compiled(types.void(writes("f4"), reads("i8"), reads("i4"), reads("i4"), reads("f4")))
def _fill_share(
    share_K: Float32Array, rows_K: Int64Array, codes_R: Int32Array, rows_L: Int32Array, weight_L: Float32Array
) -> None:
    """The share of the shopper's past that has the candidate's code. Code 0, of an unknown value, has none."""
    most = 0
    for k in range(len(rows_K)):
        most = max(most, codes_R[rows_K[k]])
    weight_V, total = np.zeros(most + 1), 0.0
    for place in range(len(rows_L)):
        code = codes_R[rows_L[place]]
        total += weight_L[place]
        if 0 < code <= most:
            weight_V[code] += weight_L[place]
    total = max(total, LEAST_WEIGHT)
    for k in range(len(rows_K)):
        share_K[k] = weight_V[codes_R[rows_K[k]]] / total


@compiled(types.void(writes("f4"), reads("i8"), reads("i4"), types.intp))
def _fill_same(same_K: Float32Array, rows_K: Int64Array, codes_R: Int32Array, last: int) -> None:
    """1 where the candidate has the code of that row, which is known."""
    if codes_R[last] > 0:
        for k in range(len(rows_K)):
            same_K[k] = codes_R[rows_K[k]] == codes_R[last]


@compiled(types.void(*(writes("f4"),) * 3, reads("i8"), reads("f4"), reads("i4"), reads("f4")))
def _fill_prices(
    price_K: Float32Array, above_K: Float32Array, from_K: Float32Array, rows_K: Int64Array, log_price_R: Float32Array,
    rows_L: Int32Array, weight_L: Float32Array,
) -> None:  # fmt: skip
    """price, above habit, from habit."""
    total, habit, spread = 0.0, np.nan, np.nan
    summed, squared = 0.0, 0.0
    for place in range(len(rows_L)):
        price = np.float64(log_price_R[rows_L[place]])
        if not math.isnan(price):
            total += weight_L[place]
            summed += weight_L[place] * price
    if total > 0:
        habit = summed / total
        for place in range(len(rows_L)):
            price = np.float64(log_price_R[rows_L[place]])
            if not math.isnan(price):
                squared += weight_L[place] * (price - habit) ** 2
        spread = max(math.sqrt(squared / total), LEAST_SPREAD)
    for k in range(len(rows_K)):
        price = np.float64(log_price_R[rows_K[k]])
        price_K[k], above_K[k] = price, (price - habit) / spread
        from_K[k] = abs(above_K[k])


_PASTS = several(reads("i4", 2), reads("f4", 2), reads("i8"))


@compiled(
    types.void(writes("f4", 2), reads("i8"), reads("i8"), reads("f4"), reads("i4"), reads("i4"), reads("i4"), _PASTS)
)
def fill_tastes(
    out_8X: Float32Array, rows_X: Int64Array, start_B1: Int64Array, log_price_R: Float32Array, category_R: Int32Array,
    department_R: Int32Array, brand_R: Int32Array, pasts: tuple[Int32Array, Float32Array, Int64Array],
) -> None:  # fmt: skip
    """Price against the shopper's habit, their shares of category, department and brand, and whether category and brand are those of the
    last; out_8X: zero. pasts: rows_BL, weight_BL and num_B of `Pasts`."""
    rows_BL, weight_BL, num_B = pasts
    for b in range(len(num_B)):
        first, end, num = start_B1[b], start_B1[b + 1], num_B[b]
        rows_K, rows_L, weight_L = rows_X[first:end], rows_BL[b, :num], weight_BL[b, :num]
        price_K, above_K, from_K = out_8X[0, first:end], out_8X[1, first:end], out_8X[2, first:end]
        _fill_prices(price_K, above_K, from_K, rows_K, log_price_R, rows_L, weight_L)
        _fill_share(out_8X[3, first:end], rows_K, category_R, rows_L, weight_L)
        _fill_share(out_8X[4, first:end], rows_K, department_R, rows_L, weight_L)
        _fill_share(out_8X[5, first:end], rows_K, brand_R, rows_L, weight_L)
        if num:
            _fill_same(out_8X[6, first:end], rows_K, category_R, rows_L[num - 1])
            _fill_same(out_8X[7, first:end], rows_K, brand_R, rows_L[num - 1])


@compiled(types.void(writes("f4", 2), reads("f8"), reads("i8"), reads("f8")))
def fill_days(out_2X: Float32Array, published_X: Float64Array, start_B1: Int64Array, at_B: Float64Array) -> None:
    """Days since it was published, twice: by FRESH_DAYS and negative, and plus one. What is unknown is NaN, a moment as well."""
    for b in range(len(at_B)):
        for x in range(start_B1[b], start_B1[b + 1]):
            days = (at_B[b] - published_X[x]) / SECONDS_PER_DAY
            days = min(max(days, 0.0), MAX_DAYS) if math.isfinite(days) else np.nan
            out_2X[0, x], out_2X[1, x] = -days / FRESH_DAYS, 1.0 + days


@compiled(types.intp(writes("i8"), types.int64))
def _slot_of(row_T: Int64Array, row: int) -> int:
    """Where the row is, or the empty slot where it belongs. T: a power of two, with room."""
    last = len(row_T) - 1
    slot = (row * SPREAD_BITS >> 8) & last
    while row_T[slot] != row and row_T[slot] != EMPTY:
        slot = (slot + 1) & last
    return slot


@compiled(
    types.void(
        writes("f4", 2), types.intp, reads("i8"), reads("f4"), reads("i4"), reads("f8"), reads("i8"), reads("f4")
    )
)
def _fill_repeats(
    out_4X: Float32Array, start: int, rows_K: Int64Array, interval_K: Float32Array, rows_L: Int32Array, ages_L: Float64Array,
    seen_rows_S: Int64Array, seen_times_S: Float32Array,
) -> None:  # fmt: skip
    size = 16
    while size < 2 * (len(rows_L) + len(seen_rows_S)):
        size *= 2
    row_T, newest_T, times_T = np.full(size, EMPTY, np.int64), np.zeros(size), np.zeros(size)
    shown_T = np.full(size, NEVER_SHOWN, np.float32)
    for place in range(len(rows_L)):
        slot = _slot_of(row_T, rows_L[place])
        row_T[slot], newest_T[slot] = rows_L[place], ages_L[place]
        times_T[slot] += 1.0
    for place in range(len(seen_rows_S)):
        slot = _slot_of(row_T, seen_rows_S[place])
        row_T[slot] = seen_rows_S[place]
        if shown_T[slot] == NEVER_SHOWN:
            shown_T[slot] = max(seen_times_S[place], np.float32(0.0))
    for k in range(len(rows_K)):
        slot, x = _slot_of(row_T, rows_K[k]), start + k
        if row_T[slot] == EMPTY:
            continue
        if times_T[slot] > 0:
            days = newest_T[slot] / HOURS_PER_DAY
            out_4X[0, x], out_4X[1, x] = math.log1p(times_T[slot]), 1.0 / (1.0 + days)
            if not math.isnan(interval_K[k]):
                due = (days + LEAST_INTERVAL_DAYS) / max(np.float64(interval_K[k]), LEAST_INTERVAL_DAYS)
                out_4X[2, x] = min(due, LONGEST_DUE)
        if shown_T[slot] != NEVER_SHOWN:
            out_4X[3, x] = math.log1p(shown_T[slot])


@compiled(
    types.void(
        writes("f4", 2), reads("i8"), reads("i8"), reads("f4"), several(reads("i4", 2), reads("f8", 2), reads("i8")),
        several(reads("i8"), reads("f4"), reads("i8")),
    )
)  # fmt: skip
def fill_repeats(
    out_4X: Float32Array, rows_X: Int64Array, start_B1: Int64Array, interval_X: Float32Array,
    pasts: tuple[Int32Array, Float64Array, Int64Array], seen: tuple[Int64Array, Float32Array, Int64Array],
) -> None:  # fmt: skip
    """times had, since had, due, shown; out_4X: zero. interval_X: days until it is bought again. pasts: rows_BL, ages_BL (hours) and num_B
    of `Pasts`. seen: rows and times of what was shown, and where those of each case begin."""
    rows_BL, ages_BL, num_B = pasts
    seen_rows_S, seen_times_S, seen_B1 = seen
    for b in range(len(num_B)):
        first, end, shown, last = start_B1[b], start_B1[b + 1], seen_B1[b], seen_B1[b + 1]
        _fill_repeats(
            out_4X, first, rows_X[first:end], interval_X[first:end], rows_BL[b, : num_B[b]], ages_BL[b, : num_B[b]],
            seen_rows_S[shown:last], seen_times_S[shown:last],
        )  # fmt: skip
