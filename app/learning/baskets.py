"""What was bought together: baskets out of the log, and how much more often than by chance two items meet in one.

Shapes: E events, Q baskets, N items, P pairs.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from app.features.users import KINDS
from app.learning.dataset import Interactions
from app.types import Int32Array, Int64Array

BUYING = ("purchase", "cart_add")  # where a log has none of these, every liking counts
MAX_BUYING_EVENTS = 2_000_000  # the newest; with MAX_BASKET bounds the pairs
MAX_BASKET = 50  # different items of one basket, the newest: a wholesaler's list says little of two things on it
LEAST_TOGETHER = 2  # baskets: one meeting is chance
SHRINKAGE = 3.0  # baskets by which the value of a thin pair is pulled to zero
COMPLEMENTS = 100  # strongest of each item
ROWS_PER_BLOCK = 2_048
Measure = Literal["pmi", "llr"]


def buying_kinds(data: Interactions) -> Int32Array:
    """Rows of KINDS."""
    buying = np.asarray([KINDS[name] for name in BUYING], np.int32)
    present = np.unique(data.kind_E[data.is_target_E]).astype(np.int32)
    return buying if np.isin(buying, present).any() else present


def baskets(data: Interactions, window_hours: float) -> sparse.csr_array:
    """Ones, CSR float32 [Q, N]: buying of one shopper in which no gap is longer than the window. The lines of an order bear one time,
    and a guest is a shopper for the length of a session, so orders and sessions are never joined by more than the window."""
    N = len(data.item_ids)
    keep_E = np.isin(data.kind_E, buying_kinds(data)) & data.is_target_E
    if keep_E.sum() > MAX_BUYING_EVENTS:
        at = data.at_E[keep_E]
        keep_E &= data.at_E >= np.partition(at, len(at) - MAX_BUYING_EVENTS)[len(at) - MAX_BUYING_EVENTS]
    user, at, item = data.user_E[keep_E], data.at_E[keep_E], data.item_E[keep_E].astype(np.int64)
    if not len(user):
        return sparse.csr_array(np.empty((0, N), np.float32))
    starts = np.r_[True, (user[1:] != user[:-1]) | (at[1:] - at[:-1] > window_hours * 3600.0)]
    basket = np.cumsum(starts) - 1
    last = np.unique((basket * N + item)[::-1], return_index=True)[1]  # of each item of a basket its newest event
    places = np.sort(len(user) - 1 - last)
    basket, item = basket[places], item[places]
    ends = np.searchsorted(basket, basket, "right")
    newest = ends - np.arange(len(basket)) <= MAX_BASKET
    ones = np.ones(int(newest.sum()), np.float32)
    return sparse.csr_array((ones, (basket[newest], item[newest])), shape=(int(basket[-1]) + 1, N))


def together(baskets_QN: sparse.csr_array, measure: Measure) -> sparse.csr_array:
    """CSR float32 [N, N], item -> complement, above zero where the two meet more often than chance would have it.

    "pmi": log of the lift; "llr": root of Dunning's log-likelihood ratio. Both times co / (co + SHRINKAGE).
    Sources: Church & Hanks 1990; Dunning 1993, eq. for the binomial.
    """
    N = baskets_QN.shape[1]
    items_NQ = sparse.csr_array(baskets_QN.T)
    count_N = np.asarray(baskets_QN.sum(0)).ravel().astype(np.float64)
    blocks = [
        _complements(
            sparse.coo_array(items_NQ[start : start + ROWS_PER_BLOCK] @ baskets_QN),
            start, count_N, baskets_QN.shape[0], measure,
        )
        for start in range(0, N, ROWS_PER_BLOCK)
    ]  # fmt: skip
    return sparse.csr_array(sparse.vstack(blocks, format="csr", dtype=np.float32))


def _complements(
    co: sparse.coo_array, start: int, count_N: NDArray[np.float64], num_baskets: int, measure: Measure
) -> sparse.csr_array:
    row, column = co.coords
    kept = (row + start != column) & (co.data >= LEAST_TOGETHER)
    row, column, count_P = row[kept], column[kept], co.data[kept].astype(np.float64)
    a_P, b_P = count_N[row + start], count_N[column]
    lift_P = count_P * num_baskets / (a_P * b_P)
    value_P = np.log(np.maximum(lift_P, 1e-12))
    if measure == "llr":
        value_P = np.sqrt(log_likelihood_ratio(count_P, a_P, b_P, num_baskets)) * (lift_P > 1)
    value_P *= count_P / (count_P + SHRINKAGE)
    return _strongest_of_row(row, column, value_P, co.shape)


def log_likelihood_ratio(
    co_P: NDArray[np.float64], a_P: NDArray[np.float64], b_P: NDArray[np.float64], total: float
) -> NDArray[np.float64]:
    """G^2 of the 2 x 2 table: in both, in the first only, in the second only, in neither."""

    def term(observed: NDArray[np.float64], expected: NDArray[np.float64]) -> NDArray[np.float64]:
        ratio = np.divide(observed, expected, out=np.ones_like(observed), where=(observed > 0) & (expected > 0))
        return np.asarray(observed * np.log(ratio))

    cells = (
        (co_P, a_P * b_P / total),
        (a_P - co_P, a_P * (total - b_P) / total),
        (b_P - co_P, (total - a_P) * b_P / total),
        (total - a_P - b_P + co_P, (total - a_P) * (total - b_P) / total),
    )
    summed: NDArray[np.float64] = 2.0 * sum(term(observed, expected) for observed, expected in cells)  # type: ignore[assignment]
    return np.maximum(summed, 0.0)


def _strongest_of_row(
    row: Int64Array, column: Int64Array, value_P: NDArray[np.float64], shape: tuple[int, int]
) -> sparse.csr_array:
    above = value_P > 0
    row, column, value_P = row[above], column[above], value_P[above]
    order = np.lexsort((column, -value_P, row))
    row, column, value_P = row[order], column[order], value_P[order]
    top = np.arange(len(row)) - np.searchsorted(row, row) < COMPLEMENTS
    return sparse.csr_array((value_P[top].astype(np.float32), (row[top], column[top])), shape=shape)
