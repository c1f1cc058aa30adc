import numpy as np
import pytest

from app.learning.calibration_fit import fit_calibration
from app.learning.evaluation.calibration import calibration_of, expected_calibration_error
from app.learning.splits import leave_one_out
from app.retrieval.calibration import Calibration
from tests.unit.learning.builders import log
from tests.unit.learning.evaluation.test_peers import two_tastes


def drawn(num: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and hits whose chance is the score squared."""
    rng = np.random.default_rng(seed)
    scores = rng.random((num, 10)).astype(np.float32)
    return scores, rng.random(scores.shape) < scores**2


def test_the_curve_rises_and_finds_the_chance() -> None:
    scores, hit = drawn(4_000, 0)
    found = fit_calibration(scores, hit, np.ones_like(hit))
    assert (np.diff(found.chances) >= 0).all()
    assert (np.diff(found.scores) > 0).all()
    asked = np.array([0.1, 0.5, 0.9], np.float32)
    assert found.chance(asked) == pytest.approx(asked**2, abs=0.04)
    fresh, wanted = drawn(4_000, 1)
    error = expected_calibration_error(found.chance(fresh).ravel(), wanted.ravel().astype(float), 15)
    assert error < 0.015
    assert expected_calibration_error(fresh.ravel().astype(float), wanted.ravel().astype(float), 15) > 0.1


def test_equal_scores_are_one_point() -> None:
    scores = np.repeat(np.array([[0.2], [0.8]], np.float32), 200, axis=0).repeat(2, axis=1)
    hit = np.zeros(scores.shape, bool)
    hit[:20] = True
    hit[200:300] = True
    found = fit_calibration(scores, hit, np.ones_like(hit))
    assert found.scores == pytest.approx([0.2, 0.8])
    assert found.chances == pytest.approx([0.1, 0.5])


def test_too_few_pairs_give_no_curve() -> None:
    scores, hit = drawn(10, 0)
    found = fit_calibration(scores, hit, np.ones_like(hit))
    assert found == Calibration()
    assert np.isnan(found.chance(scores)).all()


def test_ece_by_hand() -> None:
    """Two bins of two: |.1 - .5| and |.8 - .5|."""
    chance, hit = np.array([0.1, 0.1, 0.9, 0.7]), np.array([0.0, 1.0, 1.0, 0.0])
    assert expected_calibration_error(chance, hit, 2) == pytest.approx((0.4 + 0.3) / 2)


def test_only_what_was_shown_counts() -> None:
    judged = leave_one_out(log(two_tastes()))
    U = len(judged.users)
    lists = np.full((U, 50), -1, np.int64)
    lists[:, 0] = [target[0] for target in judged.targets]
    scores = np.where(lists >= 0, 0.5, -np.inf).astype(np.float32)
    found = calibration_of(Calibration([0.0, 1.0], [0.0, 0.5]), lists, scores, judged)
    assert found is not None
    assert (found["pairs"], found["hit_rate"], found["mean_chance"]) == (U, 1.0, 0.25)
    assert found["ece@10_bins"] == pytest.approx(0.75)
    assert calibration_of(Calibration(), lists, scores, judged) is None
