"""Known answers, computed by hand, and the same slates judged by trec_eval."""

import numpy as np
import pytest
import pytrec_eval

from app.learning.evaluation.metrics import coverage, diversity, hits, novelty, per_user

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
        (ranked(*[9] * 10, 1), [1], {"ndcg@10": 0.0, "recall@20": 1.0, "recall@50": 1.0}),
        (ranked(*[9] * 20, 1), [1], {"recall@20": 0.0, "recall@50": 1.0}),
    ],
)
def test_known_answers(topk: np.ndarray, targets: list[int], expected: dict[str, float]) -> None:
    found = per_user(topk, [np.array(targets)])
    assert {name: found[name][0] for name in expected} == pytest.approx(expected)


def test_padding_is_never_a_hit() -> None:
    found = per_user(np.array([[3, -1, -1], [-1, -1, -1]]), [np.array([4]), np.array([0])])
    assert found["hr@10"].tolist() == [0.0, 0.0]


def test_nobody_is_hit_by_the_targets_of_somebody_else() -> None:
    found = hits(np.array([[1, 2], [2, 9]]), [np.array([9, 2]), np.array([1])])
    assert found.tolist() == [[False, True], [False, False]]


def test_coverage_novelty_and_diversity_by_hand() -> None:
    counts = np.array([4, 2, 2, 0])
    vectors = np.array([[1, 0], [1, 0], [0, 1], [0, 0]], np.float32)
    lists = np.array([[0, 1], [0, 2], [3, 1], [-1, -1]])
    assert coverage(lists[:2], counts) == 1.0
    assert coverage(lists[:1], counts) == pytest.approx(2 / 3)
    assert novelty(lists, counts).tolist() == pytest.approx([1.5, 1.5, 2.5, np.nan], nan_ok=True)
    assert diversity(lists, vectors).tolist() == pytest.approx([0.0, 1.0, np.nan, np.nan], nan_ok=True)


def test_trec_eval_says_the_same_of_the_same_slates() -> None:
    """Its average precision at 10 divides by all targets, ours by those that fit into ten; F1 is of the ten shown."""
    rng = np.random.default_rng(7)
    lists = np.stack([rng.permutation(80)[:50] for _ in range(200)])
    targets = [rng.permutation(80)[: rng.integers(1, 30)] for _ in lists]
    theirs = trec_eval(lists, targets, {"ndcg_cut_10", "recall_10,20,50", "P_10", "map_cut_10", "success_10"})
    of_ten = trec_eval(lists[:, :10], targets, {"recip_rank", "set_F"})
    ours = per_user(lists, targets)
    fitting = np.array([len(wanted) / min(10, len(wanted)) for wanted in targets])
    expected = {
        "ndcg@10": theirs["ndcg_cut_10"], "recall@10": theirs["recall_10"], "recall@20": theirs["recall_20"],
        "recall@50": theirs["recall_50"], "precision@10": theirs["P_10"], "map@10": theirs["map_cut_10"] * fitting,
        "hr@10": theirs["success_10"], "mrr@10": of_ten["recip_rank"], "f1@10": of_ten["set_F"],
    }  # fmt: skip
    assert set(ours) == set(expected)
    for name, values in expected.items():
        assert ours[name] == pytest.approx(values, abs=1e-6), name
        assert 0 < values.mean() < 1


def trec_eval(lists: np.ndarray, targets: list[np.ndarray], measures: set[str]) -> dict[str, np.ndarray]:
    run = {f"{u:03}": {str(item): float(-rank) for rank, item in enumerate(row)} for u, row in enumerate(lists)}
    wanted = {f"{u:03}": {str(item): 1 for item in items} for u, items in enumerate(targets)}
    found = pytrec_eval.RelevanceEvaluator(wanted, measures).evaluate(run)
    return {name: np.array([found[user][name] for user in sorted(found)]) for name in found["000"]}
