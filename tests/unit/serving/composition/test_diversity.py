"""Shapes: C candidates, V vector size."""

from itertools import combinations

import numpy as np

from app.serving.composition.diversity import Spread
from app.serving.composition.selection import choose, relevance


def unit_rows(num: int, dim: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((num, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def log_det(vectors: np.ndarray) -> float:
    return float(np.linalg.slogdet((1 + vectors @ vectors.T) / 2)[1])


def test_each_step_gains_what_the_log_determinant_grows_by():
    vectors_CV = unit_rows(30, 8)
    spread, taken = Spread(vectors_CV, 6, weight=1.0), list[int]()
    for _ in range(6):
        gain_C = spread.gain_C()
        before = log_det(vectors_CV[taken]) if taken else 0.0
        for candidate in set(range(30)) - set(taken):
            assert np.isclose(gain_C[candidate], log_det(vectors_CV[[*taken, candidate]]) - before, atol=1e-3)
        taken.append(int(gain_C.argmax()))
        spread.take(taken[-1])


def test_the_greedy_set_is_nearly_the_best_of_all_sets():
    vectors_CV = unit_rows(10, 6, seed=2)
    chosen = choose(np.zeros(10, np.float32), 4, [Spread(vectors_CV, 4, 1.0)])
    best = max(log_det(vectors_CV[list(group)]) for group in combinations(range(10), 4))
    worst = min(log_det(vectors_CV[list(group)]) for group in combinations(range(10), 4))
    assert log_det(vectors_CV[chosen]) > best - 0.15 * (best - worst)


def test_a_twin_waits_until_the_others_stand():
    vectors_CV = np.eye(5, dtype=np.float32)[[0, 0, 1, 2, 3]]
    scores_C = np.float32([1.0, 0.99, 0.5, 0.4, 0.3])
    assert choose(relevance(scores_C), 3, []) == [0, 1, 2]
    assert choose(0.5 * relevance(scores_C), 4, [Spread(vectors_CV, 4, 0.5)]) == [0, 2, 3, 4]


def test_more_places_than_dimensions_are_filled_by_relevance():
    vectors_CV = np.eye(2, dtype=np.float32)[[0, 1] * 10]
    chosen = choose(0.5 * relevance(np.linspace(1, 0, 20, dtype=np.float32)), 20, [Spread(vectors_CV, 20, 0.5)])
    assert sorted(chosen) == list(range(20))
    assert chosen[:2] == [0, 1]
    assert chosen[2:] == sorted(chosen[2:])
