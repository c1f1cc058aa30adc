"""The two studies of scenarios: their bookkeeping on toy data, without any training where none is needed."""

from dataclasses import replace

import numpy as np
import pytest

from app.encoding.encoder import Encoder
from app.learning.dataset import interactions
from app.learning.evaluation.leave_scenario_out import hide, leave_out
from app.learning.evaluation.scenario_study import (
    CONTROL,
    FULL,
    FUSED,
    TOWER,
    VARIANTS,
    compare_scenarios,
    judged_scenarios,
    summarise,
)
from app.learning.evaluation.study_table import study_table
from app.learning.fit_config import FitConfig
from app.learning.inputs import encode_inputs
from app.learning.popularity import popularity
from app.learning.splits import temporal
from app.learning.training_config import TrainingConfig
from app.types import no_progress
from tests.unit.learning.builders import Row, log, shop


def test_a_hidden_scenario_leaves_histories_and_nothing_else() -> None:
    rows: list[Row] = [("a", "x", 0), ("a", "y", 1), ("b", "x", 2), ("b", "z", 3), ("c", "y", 4)]
    data = log(rows, scenarios=["cart", "home", "home", "email", "cart"])
    hidden = hide(data, data.scenarios.index("cart"))
    assert list(hidden.scenarios) == ["", "email", "home"]
    assert [hidden.scenarios[row] for row in hidden.scenario_E] == ["", "home", "home", "email", ""]
    assert np.array_equal(hidden.item_E, data.item_E)  # still in the histories
    assert hidden.is_target_E.tolist() == [False, True, True, True, False]
    assert hidden.item_counts_N.sum() == 3
    left = popularity(hidden, float("inf"))
    assert left.shape[0] == 3
    assert left[0].sum() == pytest.approx(1.0)


def test_means_macro_worst_and_paired_differences_by_hand() -> None:
    def scores(home: list[float], cart: list[float]) -> dict[str, dict[str, np.ndarray]]:
        return {"home": {TOWER: np.array(home)}, "cart": {TOWER: np.array(cart)}}

    runs = {
        CONTROL: [scores([0.2, 0.4], [0.1, 0.1]), scores([0.4, 0.4], [0.1, 0.3])],
        FULL: [scores([0.4, 0.6], [0.1, 0.1]), scores([0.6, 0.6], [0.1, 0.3])],
    }
    users = {"home": np.array([3, 8]), "cart": np.array([3, 5])}
    report = summarise(runs, TOWER, users)
    control, full = report[CONTROL], report[FULL]
    assert isinstance(control, dict)
    assert isinstance(full, dict)
    assert control["scenarios"] == pytest.approx({"home": 0.35, "cart": 0.15})
    assert (control["macro"], control["worst"]) == pytest.approx((0.25, 0.15))
    assert control["macro_by_seed"] == pytest.approx([0.2, 0.3])
    delta = full["against_control"]
    assert isinstance(delta, dict)
    assert delta["home"] == pytest.approx({"mean": 0.2, "low": 0.2, "high": 0.2})  # every user gains the same
    assert delta["cart"] == pytest.approx({"mean": 0.0, "low": 0.0, "high": 0.0})
    assert delta["macro"] == pytest.approx({"mean": 0.1, "low": 0.1, "high": 0.1})
    assert len(study_table(report, CONTROL, "t").rows) == 2


def test_a_shopper_of_many_scenarios_is_one_shopper() -> None:
    """The same gains in each of six scenarios say no more than in one, and a model that was asked nothing is left out."""
    rng = np.random.default_rng(0)
    gain_U, users = rng.normal(0.0, 0.1, 200), np.arange(200)
    names = [f"s{n}" for n in range(6)]

    def macro_width(num: int) -> float:
        of = {name: {TOWER: np.zeros(200)} for name in names[:num]}
        better = {name: {TOWER: gain_U} for name in names[:num]}
        report = summarise({CONTROL: [of], FULL: [better], "wrong": [{}]}, TOWER, dict.fromkeys(names, users))
        assert "wrong" not in report
        macro = report[FULL]["against_control"]["macro"]  # type: ignore[index, call-overload]
        return float(macro["high"] - macro["low"])

    assert macro_width(6) == pytest.approx(macro_width(1), rel=0.2)


def test_every_model_and_the_left_out_scenario_are_judged_on_the_same_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small, so the figures mean nothing; their shape does."""
    monkeypatch.setattr("app.learning.evaluation.scenario_study.MIN_USERS", 5)
    rng = np.random.default_rng(0)
    rows = [(f"u{n % 60:02}", f"item {int(rng.integers(12))}", float(n)) for n in range(900)]
    data_shop = shop(rows, scenarios=[("home", "cart")[int(rng.integers(2))] for _ in rows])
    data = interactions(data_shop)
    whole, inputs = temporal(data), encode_inputs(data_shop, data, Encoder(), no_progress)
    config = FitConfig(training=TrainingConfig(epochs=1))
    parts = judged_scenarios(whole)
    assert set(parts) == {"home", "cart"}
    runs = compare_scenarios(whole, data, inputs, config, tuple(VARIANTS), 1, no_progress)
    left = leave_out(whole, data, inputs, config, ("cart",), no_progress)
    for scores in [of[0] for of in runs.values()]:
        for name, (_, part) in parts.items():
            assert {level: len(values) for level, values in scores[name].items()} == dict.fromkeys(
                (TOWER, FUSED), len(part.users)
            )
    assert set(left) == {"trained", "words", "pooled", "wrong"}
    assert all(len(of["cart"][FUSED]) == len(parts["cart"][1].users) for of in left.values())
    assert replace(config).guard  # the studies change copies, never the configuration they were given
