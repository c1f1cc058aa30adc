"""Shapes: C candidates, G categories."""

import numpy as np

from app.serving.composition.calibration import SMOOTHING, Mix
from app.serving.composition.selection import choose


def divergence(wanted_G: np.ndarray, shown: list[int]) -> float:
    share_G = np.asarray([shown.count(g) for g in range(len(wanted_G))]) / len(shown)
    return float((wanted_G * np.log(wanted_G / ((1 - SMOOTHING) * share_G + SMOOTHING * wanted_G))).sum())


def test_the_gain_is_the_divergence_of_the_slate_with_the_candidate():
    wanted_G, group_C = np.float32([0.6, 0.3, 0.1]), np.asarray([0, 1, 2, 3])
    mix, shown = Mix(wanted_G, group_C, weight=1.0), list[int]()
    for taken in (0, 3, 1, 0):
        expected = [-divergence(wanted_G, [*shown, group]) for group in group_C.tolist()]
        np.testing.assert_allclose(mix.gain_C(), expected, rtol=1e-5)
        mix.take(taken)
        shown.append(taken)


def test_a_slate_follows_the_shoppers_mix():
    group_C = np.asarray([0] * 20 + [1] * 20 + [2] * 20)
    mix = Mix(np.float32([0.5, 0.3, 0.2]), group_C, weight=1.0)
    chosen = choose(np.linspace(1e-3, 0, 60, dtype=np.float32), 10, [mix])
    assert np.bincount(group_C[chosen]).tolist() == [5, 3, 2]


def test_nobody_stands_twice_and_what_is_no_number_not_at_all():
    class Broken:
        def gain_C(self) -> np.ndarray:
            return np.float32([0.0, np.nan, 0.0])

        def take(self, candidate: int) -> None: ...

    assert choose(np.float32([0.5, 1.0, 0.9]), 3, [Broken()]) == [2, 0]
