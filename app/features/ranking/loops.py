"""The features that need a loop over candidates, compiled. Each function fills the rows of one group, in the order of `names.FEATURES`.

A number that is not there is NaN. Shapes: C candidates, K of them whose features are asked for, R rows of the item space, L history,
S items shown of late, T slots of a hash table.
"""

from __future__ import annotations

import math

import numpy as np
from numba import types
from numpy.typing import NDArray

from app.compiled import compiled, reads, writes
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
    types.void(writes("f4", 2), reads("i8"), reads("i4", 2), reads("f4", 2), reads("f4"), reads("i8"), reads("f4"))
)
def fill_sources(
    out_XK: Float32Array, row_Q: Int64Array, rank_QC: Int32Array, score_QC: Float32Array, fused_C: Float32Array,
    place_K: Int64Array, by_rank: Float32Array,
) -> None:  # fmt: skip
    """Rank of each source, score of each, fused, fused and at least LEAST_FUSED, and how many sources; out_XK: zero. row_Q: of the sources
    among those, -1 for one that has none. by_rank: `BY_RANK`."""
    num = (len(out_XK) - 3) // 2
    for q in range(len(row_Q)):
        if row_Q[q] >= 0:
            by_rank_K, by_score_K = out_XK[row_Q[q]], out_XK[num + row_Q[q]]
            _fill_source(by_rank_K, by_score_K, out_XK[2 * num + 2], rank_QC[q], score_QC[q], place_K, by_rank)
    for k in range(len(place_K)):
        out_XK[2 * num, k] = fused_C[place_K[k]]
        out_XK[2 * num + 1, k] = max(fused_C[place_K[k]], np.float32(LEAST_FUSED))


@compiled(types.void(writes("f4", 2), reads("f4", 2), types.intp))
def fill_recent(out_2K: Float32Array, alike_KX: Float32Array, num: int) -> None:
    """Likeness to the last, and the greatest, of the first num."""
    for k in range(len(alike_KX)):
        best = alike_KX[k, 0] if num > 0 else np.float32(np.nan)
        for x in range(1, num):
            best = max(best, alike_KX[k, x])
        out_2K[0, k], out_2K[1, k] = alike_KX[k, num - 1] if num > 0 else best, best


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


@compiled(types.void(writes("f4", 2), reads("i8"), reads("f4"), reads("i4"), reads("f4")))
def _fill_prices(
    out_3K: Float32Array, rows_K: Int64Array, log_price_R: Float32Array, rows_L: Int32Array, weight_L: Float32Array
) -> None:
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
        out_3K[0, k], out_3K[1, k] = price, (price - habit) / spread
        out_3K[2, k] = abs(out_3K[1, k])


@compiled(
    types.void(
        writes("f4", 2), reads("i8"), reads("f4"), reads("i4"), reads("i4"), reads("i4"), reads("i4"), reads("f4")
    )
)
def fill_tastes(
    out_8K: Float32Array, rows_K: Int64Array, log_price_R: Float32Array, category_R: Int32Array, department_R: Int32Array,
    brand_R: Int32Array, rows_L: Int32Array, weight_L: Float32Array,
) -> None:  # fmt: skip
    """Price against the shopper's habit, their shares of category, department and brand, and whether category and brand are those of the
    last; out_8K: zero."""
    _fill_prices(out_8K[:3], rows_K, log_price_R, rows_L, weight_L)
    _fill_share(out_8K[3], rows_K, category_R, rows_L, weight_L)
    _fill_share(out_8K[4], rows_K, department_R, rows_L, weight_L)
    _fill_share(out_8K[5], rows_K, brand_R, rows_L, weight_L)
    if len(rows_L):
        _fill_same(out_8K[6], rows_K, category_R, rows_L[-1])
        _fill_same(out_8K[7], rows_K, brand_R, rows_L[-1])


@compiled(types.void(writes("f4", 2), reads("f8"), types.float64))
def fill_days(out_2K: Float32Array, published_K: Float64Array, at: float) -> None:
    """Days since it was published, twice: by FRESH_DAYS and negative, and plus one. What is unknown is NaN."""
    for k in range(len(published_K)):
        days = (at - published_K[k]) / SECONDS_PER_DAY
        days = min(max(days, 0.0), MAX_DAYS) if math.isfinite(days) else np.nan
        out_2K[0, k], out_2K[1, k] = -days / FRESH_DAYS, 1.0 + days


@compiled(types.intp(writes("i8"), types.int64))
def _slot_of(row_T: Int64Array, row: int) -> int:
    """Where the row is, or the empty slot where it belongs. T: a power of two, with room."""
    last = len(row_T) - 1
    slot = (row * SPREAD_BITS >> 8) & last
    while row_T[slot] != row and row_T[slot] != EMPTY:
        slot = (slot + 1) & last
    return slot


@compiled(types.void(writes("f4", 2), reads("i8"), reads("f4"), reads("i4"), reads("f8"), reads("i8"), reads("f4")))
def fill_repeats(
    out_4K: Float32Array, rows_K: Int64Array, interval_K: Float32Array, rows_L: Int32Array, ages_L: Float64Array,
    seen_rows_S: Int64Array, seen_times_S: Float32Array,
) -> None:  # fmt: skip
    """times had, since had, due, shown; out_4K: zero. interval_K: days until it is bought again. ages_L: hours."""
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
        slot = _slot_of(row_T, rows_K[k])
        if row_T[slot] == EMPTY:
            continue
        if times_T[slot] > 0:
            days = newest_T[slot] / HOURS_PER_DAY
            out_4K[0, k], out_4K[1, k] = math.log1p(times_T[slot]), 1.0 / (1.0 + days)
            if not math.isnan(interval_K[k]):
                due = (days + LEAST_INTERVAL_DAYS) / max(np.float64(interval_K[k]), LEAST_INTERVAL_DAYS)
                out_4K[2, k] = min(due, LONGEST_DUE)
        if shown_T[slot] != NEVER_SHOWN:
            out_4K[3, k] = math.log1p(shown_T[slot])
