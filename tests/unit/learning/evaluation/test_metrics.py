"""Known answers: a twelve-row literal table, computed by hand."""

import numpy as np
import pytest

from app.learning.evaluation.metrics import beyond_accuracy, interval, per_user

LOG2_3 = np.log2(3)


def ranked(*rows: int) -> np.ndarray:
    return np.array([[*rows, *range(100, 150 - len(rows))]])


@pytest.mark.parametrize(
    ("topk", "targets", "expected"),
    [
        (ranked(1), [1], {"ndcg@10": 1.0, "hr@10": 1.0, "mrr@10": 1.0, "recall@10": 1.0, "precision@10": 0.1}),
        (ranked(9, 1), [1], {"ndcg@10": 1 / LOG2_3, "mrr@10": 0.5, "map@10": 0.5}),
        (ranked(1, 2), [1, 2], {"ndcg@10": 1.0, "map@10": 1.0, "f1@10": 2 * 0.2 * 1 / 1.2}),
        (ranked(1, 9, 2), [1, 2], {"ndcg@10": (1 + 0.5) / (1 + 1 / LOG2_3), "map@10": (1 + 2 / 3) / 2}),
        (ranked(9, 8), [1, 2], {"ndcg@10": 0.0, "hr@10": 0.0, "mrr@10": 0.0, "f1@10": 0.0, "map@10": 0.0}),
        (ranked(*range(10)), list(range(20)), {"ndcg@10": 1.0, "recall@10": 0.5, "map@10": 1.0, "recall@50": 0.5}),
        (ranked(*[9] * 10, 1), [1], {"ndcg@10": 0.0, "recall@50": 1.0}),
    ],
)
def test_known_answers(topk: np.ndarray, targets: list[int], expected: dict[str, float]) -> None:
    found = per_user(topk, [np.array(targets)])
    assert {name: found[name][0] for name in expected} == pytest.approx(expected)


def test_padding_is_never_a_hit() -> None:
    found = per_user(np.array([[3, -1, -1]]), [np.array([4])])
    assert found["hr@10"].tolist() == [0.0]


def test_beyond_accuracy_by_hand() -> None:
    counts = np.array([4, 2, 2, 0])
    vectors = np.array([[1, 0], [1, 0], [0, 1], [0, 0]], np.float32)
    found = beyond_accuracy(np.array([[0, 1], [0, 2]]), counts, vectors)
    assert found["coverage@10"] == 1.0
    assert found["novelty@10"] == pytest.approx((1 + 2 + 1 + 2) / 4)
    assert found["diversity@10"] == pytest.approx((0.0 + 1.0) / 2)


def test_the_interval_holds_the_mean_and_shrinks_with_users() -> None:
    values = np.random.default_rng(0).random(2_000)
    low, high = interval(values)
    assert low < values.mean() < high
    assert high - low < interval(values[:50])[1] - interval(values[:50])[0]
