import numpy as np
import pytest

from app.retrieval import index as module
from app.retrieval.index import VectorIndex, best, padded
from app.retrieval.selection import EVERY


def unit(rows: int, dim: int = 16, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("kept", [1.0, 0.5, 0.01, 0.0])
def test_search_is_exact_search_over_what_is_allowed(kept: float) -> None:
    items, users = unit(2_000), unit(5, seed=1)
    allowed = np.random.default_rng(2).random(2_000) < kept
    rows, scores = VectorIndex(items).search(users, 10, allowed)
    expected = users @ items.T
    expected[:, ~allowed] = -np.inf
    for b in range(5):
        order = np.argsort(-expected[b], kind="stable")[: min(10, allowed.sum())]
        assert rows[b][rows[b] >= 0].tolist() == order.tolist()
        assert scores[b][rows[b] >= 0] == pytest.approx(expected[b][order], abs=1e-5)


def test_a_filter_that_keeps_three_returns_those_three() -> None:
    allowed = np.zeros(5_000, np.bool_)
    allowed[[3, 44, 4_999]] = True
    rows, _ = VectorIndex(unit(5_000)).search(unit(1, seed=3), 200, allowed)
    assert sorted(rows[0][rows[0] >= 0].tolist()) == [3, 44, 4_999]


def test_the_largest_catalogues_walk_a_graph_with_measured_recall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRAPH_ABOVE", 1_000)
    index = VectorIndex(unit(6_000))
    assert index.kind == "hnsw"
    assert index.recall() >= 0.98
    allowed = np.arange(6_000) % 2 == 0
    rows, _ = index.search(unit(3, seed=4), 50, allowed)
    assert (rows >= 0).all()
    assert (rows % 2 == 0).all()


@pytest.mark.parametrize("kept", [1.0, 0.5, 0.06])
@pytest.mark.parametrize("num_users", [1, 5, 70])
@pytest.mark.parametrize("kind", ["unit", "of many lengths", "heaped", "alike", "of five dimensions", "far out"])
def test_a_first_look_in_eight_bits_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, kind: str, num_users: int, kept: float
) -> None:
    dim = 5 if kind == "of five dimensions" else 24
    items, users = unit(6_000, dim), unit(num_users, dim, seed=1)
    if kind == "of many lengths":
        items *= np.random.default_rng(2).lognormal(0, 1, (len(items), 1)).astype(np.float32)
    elif kind == "heaped":  # the best stand where a look at every 16th would not see them
        items[1::16] = items[1::16] / 4 + users[0]
    elif kind == "alike":
        items = np.repeat(items[:60], 100, 0)
    elif kind == "far out":  # one number that leaves the others no room
        items[:, 3] *= 1_000
    allowed = np.random.default_rng(3).random(len(items)) < kept
    monkeypatch.setattr(module, "QUANTISED_ABOVE", 1_000)
    monkeypatch.setattr(module, "INT8", True)
    index = VectorIndex(items)
    assert index.quantised is not None
    rows, scores = index.search(users, 50, allowed)
    whole = np.where(allowed, users @ items.T, -np.inf)
    assert scores == pytest.approx(-np.sort(-whole, axis=1)[:, :50], rel=1e-4, abs=1e-5)
    assert scores == pytest.approx(np.take_along_axis(whole, rows, 1), rel=1e-4, abs=1e-5)
    assert all(len(set(of_user)) == 50 for of_user in rows.tolist())


def test_what_the_first_look_is_not_sure_of_is_scanned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half the shop is the same item: more candidates than there is room for."""
    items, users = unit(6_000), unit(4, seed=1)
    items[::2] = users[1]
    monkeypatch.setattr(module, "QUANTISED_ABOVE", 1_000)
    monkeypatch.setattr(module, "INT8", True)
    index = VectorIndex(items)
    assert index.quantised is not None
    assert 1 in index.quantised.search(users, EVERY, *padded(4, 50))
    rows, _ = index.search(users, 50)
    assert rows[1].tolist() == list(range(0, 100, 2))


def test_broken_vectors_are_not_found_by_a_first_look_and_find_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    items, users = unit(6_000), unit(4, seed=1)
    items[:300, 0], items[300:600, 1], users[2, 3] = np.nan, np.inf, np.nan
    users[3] = 0.0
    monkeypatch.setattr(module, "QUANTISED_ABOVE", 1_000)
    monkeypatch.setattr(module, "INT8", True)
    rows, scores = VectorIndex(items).search(users, 50)
    assert (rows[:2] >= 300).all()
    assert np.isfinite(scores[:2]).all()
    assert (rows[2:] == -1).all()


def test_numbers_near_the_largest_are_looked_at_like_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds of a score may leave the range of float32 where the score does not."""
    items, users = unit(6_000), unit(4, seed=1)
    items[::3] *= 3e37
    monkeypatch.setattr(module, "QUANTISED_ABOVE", 1_000)
    monkeypatch.setattr(module, "INT8", True)
    rows, scores = VectorIndex(items).search(users, 50)
    assert scores == pytest.approx(-np.sort(-(users @ items.T), axis=1)[:, :50], rel=1e-4)
    assert (rows % 3 == 0).all()


def test_best_never_returns_nan_or_minus_infinity() -> None:
    rows, scores = best(np.array([[np.nan, 1.0, -np.inf, 3.0]]), 4)
    assert rows.tolist() == [[3, 1, -1, -1]]
    assert scores[0, :2].tolist() == [3.0, 1.0]
    assert np.isneginf(scores[0, 2:]).all()


def test_ties_keep_row_order() -> None:
    assert best(np.zeros((1, 100), np.float32), 100)[0][0].tolist() == list(range(100))


@pytest.mark.parametrize("kind", ["any", "ties", "mostly hidden", "all hidden", "unknown", "rising", "heaped"])
@pytest.mark.parametrize(("num_items", "num"), [(1, 1), (30, 30), (900, 400), (20_000, 400), (20_000, 30_000)])
def test_the_best_are_the_first_of_a_stable_sort(kind: str, num_items: int, num: int) -> None:
    draw = np.random.default_rng(num_items + num)
    scores_BN = draw.standard_normal((3, num_items)).astype(np.float32)
    if kind == "ties":
        scores_BN = np.round(scores_BN)
    elif kind in ("mostly hidden", "all hidden"):
        scores_BN[draw.random(scores_BN.shape) < (0.99 if kind == "mostly hidden" else 1.0)] = -np.inf
    elif kind == "unknown":
        scores_BN[draw.random(scores_BN.shape) < 0.3] = np.nan
    elif kind == "rising":
        scores_BN.sort(axis=1)
    elif kind == "heaped":  # the high ones stand where a sample of every 16th does not look
        scores_BN[:, np.arange(num_items) % 16 == 1] += 10.0
    rows_BK, top_BK = best(scores_BN, num)
    known_BN = np.where(np.isnan(scores_BN), -np.inf, scores_BN)
    order_BK = np.argsort(-known_BN, axis=1, kind="stable")[:, :num]
    wanted_BK = np.take_along_axis(known_BN, order_BK, 1)
    assert np.array_equal(top_BK, wanted_BK)
    assert np.array_equal(rows_BK, np.where(np.isneginf(wanted_BK), -1, order_BK))
