"""Keys of scores and rows, and the first of many of them."""

import numpy as np
import pytest

from app.retrieval.selection import NO_KEY, key_of, score_of, settle_into


@pytest.mark.parametrize("score", [1.5, -1.5, 0.0, np.inf, 1e-40, -1e-40, np.finfo(np.float32).max])
def test_a_key_tells_its_score_and_its_row(score: float) -> None:
    key = key_of(score, 2**31 - 1)
    assert score_of(key) == np.float32(score)
    assert key & 0xFFFFFFFF == 2**31 - 1


def test_what_is_no_score_has_no_key_and_negative_zero_is_zero() -> None:
    assert key_of(np.nan, 3) == key_of(-np.nan, 3) == key_of(-np.inf, 3) == NO_KEY
    assert key_of(-0.0, 3) == key_of(0.0, 3)


@pytest.mark.parametrize("kind", ["any", "ties", "equal", "near"])
@pytest.mark.parametrize(("length", "num"), [(0, 5), (7, 5), (300, 400), (700, 400), (6_000, 400), (6_000, 5_000)])
def test_the_first_keys_are_the_highest_scores_then_the_lowest_rows(kind: str, length: int, num: int) -> None:
    draw = np.random.default_rng(length + num)
    scores_E = draw.standard_normal(length).astype(np.float32)
    if kind == "ties":
        scores_E = np.round(scores_E)
    elif kind == "equal":
        scores_E[:] = 0.5
    elif kind == "near":
        scores_E = np.float32(1.0) + scores_E * np.float32(1e-6)
    rows_E = draw.permutation(100_000)[:length]
    keys_E = np.array([key_of(*one) for one in zip(scores_E.tolist(), rows_E.tolist(), strict=True)], np.int64)
    rows_K, scores_K = np.empty(num, np.int64), np.empty(num, np.float32)
    found = settle_into(keys_E, length, num, rows_K, scores_K)
    order = np.lexsort((rows_E, -scores_E))[:num]
    assert found == len(order)
    np.testing.assert_array_equal(rows_K[:found], rows_E[order])
    np.testing.assert_array_equal(scores_K[:found], scores_E[order])
