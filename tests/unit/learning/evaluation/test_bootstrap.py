import numpy as np
import pytest

from app.learning.evaluation.bootstrap import intervals, macro_interval
from app.learning.evaluation.compare import MAIN_METRIC, Judged, difference, sign_test


def model(values: np.ndarray) -> Judged:
    return Judged(np.zeros((len(values), 1), np.int64), {MAIN_METRIC: values})


def test_the_interval_is_that_of_the_normal_approximation() -> None:
    values = np.random.default_rng(0).random(4_000)
    found = intervals({"a": values, "b": values[::-1].copy()})
    spread = 1.96 * values.std() / np.sqrt(len(values))
    assert found["a"].mean == pytest.approx(values.mean())
    assert found["a"].high - found["a"].low == pytest.approx(2 * spread, rel=0.1)
    assert found["a"].low < found["a"].mean < found["a"].high


def test_a_user_without_a_value_does_not_count() -> None:
    found = intervals({"a": np.array([1.0, np.nan, 1.0]), "none": np.full(3, np.nan)})
    assert found["a"].as_json() == {"mean": 1.0, "low": 1.0, "high": 1.0}
    assert found["none"].as_json() == {"mean": None, "low": None, "high": None}


def test_a_macro_mean_weighs_scenarios_alike() -> None:
    """Nine users in one scenario at 0, one in another at 1."""
    values = np.full((10, 2), np.nan)
    values[:9, 0], values[9, 1] = 0.0, 1.0
    found = macro_interval(values)
    assert (found.mean, found.low, found.high) == (0.5, 0.5, 0.5)
    spread = macro_interval(np.random.default_rng(6).random((200, 3)))
    assert spread.low < spread.mean < spread.high


def test_blocks_do_not_change_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"a": np.random.default_rng(1).random(300)}
    whole = intervals(values)
    monkeypatch.setattr("app.learning.evaluation.bootstrap.CELLS_PER_BLOCK", 900)
    assert intervals(values)["a"].low == pytest.approx(whole["a"].low)


def test_differences_are_paired() -> None:
    """Two models that are far apart between users but always .01 apart on one: only the pairing sees it."""
    theirs = np.random.default_rng(2).random(500)
    found = difference(model(theirs + 0.01), model(theirs))
    assert (found.low, found.high) == pytest.approx((0.01, 0.01))
    assert found.excludes_zero


@pytest.mark.parametrize(
    ("by_seed", "verdict"),
    [
        ([0.1, 0.1, 0.1, 0.1, -0.01], "win"),
        ([0.3, 0.3, 0.3, -0.01, -0.01], "tie"),
        ([-0.1] * 5, "loss"),
        ([0.0] * 5, "tie"),
    ],
)
def test_a_win_needs_the_interval_and_four_of_five_seeds(by_seed: list[float], verdict: str) -> None:
    theirs = np.random.default_rng(3).random(200)
    found = sign_test([model(theirs + delta) for delta in by_seed], [model(theirs)])
    assert found.verdict == verdict
    assert found.by_seed == pytest.approx(by_seed)


def test_chance_is_no_win() -> None:
    rng = np.random.default_rng(4)
    assert sign_test([model(rng.random(200)) for _ in range(5)], [model(rng.random(200))]).verdict == "tie"
