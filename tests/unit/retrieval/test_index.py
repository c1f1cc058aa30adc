import numpy as np
import pytest

from app.retrieval import index as module
from app.retrieval.index import VectorIndex, best


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


def test_large_catalogues_walk_a_graph_with_measured_recall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EXACT_BELOW", 1_000)
    index = VectorIndex(unit(6_000))
    assert index.kind == "hnsw"
    assert index.recall() >= 0.98
    allowed = np.arange(6_000) % 2 == 0
    rows, _ = index.search(unit(3, seed=4), 50, allowed)
    assert (rows >= 0).all()
    assert (rows % 2 == 0).all()


def test_best_never_returns_nan_or_minus_infinity() -> None:
    rows, scores = best(np.array([[np.nan, 1.0, -np.inf, 3.0]]), 4)
    assert rows.tolist() == [[3, 1, -1, -1]]
    assert scores[0, :2].tolist() == [3.0, 1.0]
    assert np.isneginf(scores[0, 2:]).all()


def test_ties_keep_row_order() -> None:
    assert best(np.zeros((1, 100), np.float32), 100)[0][0].tolist() == list(range(100))


def test_a_saved_graph_is_the_same_graph_and_never_serves_other_vectors(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "EXACT_BELOW", 500)
    items, users, path = unit(2_000), unit(3, seed=5), tmp_path / "vectors.faiss"
    built = VectorIndex(items)
    built.save(path)
    with monkeypatch.context() as patch:
        patch.setattr(VectorIndex, "_built", lambda self: pytest.fail("the graph was built anew"))
        read = VectorIndex(items, graph=path)
    np.testing.assert_array_equal(read.search(users, 50)[0], built.search(users, 50)[0])
    others = unit(2_000, seed=9)
    np.testing.assert_array_equal(VectorIndex(others, graph=path).search(others[:3], 1)[0][:, 0], [0, 1, 2])
    path.write_bytes(path.read_bytes()[:1_000])
    with pytest.raises(RuntimeError):
        VectorIndex(items, graph=path)


def test_an_exact_index_saves_nothing(tmp_path):
    VectorIndex(unit(20)).save(tmp_path / "vectors.faiss")
    assert not list(tmp_path.iterdir())


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
