"""The guard's choice, the prior it weighs, and the small towers it may keep."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from app.encoding.encoder import Encoder
from app.features.users import HistoryItem, UserBatch, fold_users
from app.learning.assembly import replace_manifest
from app.learning.dataset import Interactions, interactions
from app.learning.fit import fit
from app.learning.fit_config import FitConfig
from app.learning.guard import MARGIN, choose, pooled
from app.learning.inputs import Inputs, encode_inputs
from app.learning.scenario_prior import scenario_prior
from app.learning.separate import separate_tower
from app.learning.training_config import TrainingConfig
from app.model import separate
from app.model.runner import TowerRunner
from app.retrieval.snapshot import Snapshot
from app.retrieval.sources import TwoTowerSource
from app.types import no_progress
from tests.unit.learning.builders import Row, log, shop

RNG = np.random.default_rng(0)


def noisy(gain: float, users: int = 400) -> tuple[np.ndarray, np.ndarray]:
    base = RNG.random(users)
    return base, base + gain + RNG.normal(0, 0.05, users)


def test_a_sure_gain_in_one_scenario_is_taken_there_only() -> None:
    same, loss = noisy(0.0), noisy(-0.02)
    home, tuned = noisy(0.1)
    values = {
        "shared": {"home": home, "cart": same[0], "mail": loss[0]},
        "adapter": {"home": tuned, "cart": same[1], "mail": loss[1]},
    }
    home_only = {option: {"home": of["home"]} for option, of in values.items()}
    assert choose(home_only, "shared") == {"home": "adapter"}
    values["shared"]["home"], values["adapter"]["home"] = same[0], same[0] + np.where(np.arange(400) < 200, 0.02, -0.02)
    choices = choose(values, "adapter")
    assert choices["mail"] == "shared"  # negative transfer: sure to be better without
    assert choices["cart"] == "adapter"


def test_few_users_or_a_small_gain_change_nothing() -> None:
    base, _ = noisy(0.05, users=6)
    noise = {"adapter": {"home": base}, "shared": {"home": base + np.array([0.4, -0.3, 0.2, -0.1, 0.0, 0.1])}}
    assert choose(noise, "adapter") == {"home": "adapter"}
    many = np.full(5_000, 0.5)
    tiny = {"adapter": {"home": many}, "shared": {"home": many * (1 + MARGIN / 2)}}
    assert choose(tiny, "adapter") == {"home": "adapter"}  # sure, and not worth it


def test_small_evidence_from_every_scenario_together_decides_for_the_shop() -> None:
    """A little behind in each of five scenarios, sure in none: the simpler one serves, though none would have dropped the other."""
    shared = {f"s{n}": RNG.random(60) for n in range(5)}
    noise = RNG.normal(0, 0.15, 60)
    behind = {name: base - 0.01 + noise - noise.mean() for name, base in shared.items()}
    assert set(choose({"shared": shared, "adapter": behind}, "adapter").values()) == {"adapter"}
    assert pooled({"shared": shared, "adapter": behind}, "shared") == "shared"
    ahead = {name: base + 0.02 for name, base in shared.items()}
    assert pooled({"shared": shared, "adapter": ahead}, "shared") == "adapter"
    as_good = {name: base * (1 + MARGIN / 2) for name, base in shared.items()}
    assert pooled({"shared": shared, "adapter": as_good}, "shared") == "shared"


def test_an_option_tried_in_some_scenarios_never_becomes_the_default() -> None:
    base, better = noisy(0.2)
    values = {"adapter": {"home": base, "cart": base}, "separate": {"home": better}}
    assert pooled(values, "adapter") == "adapter"
    assert choose(values, "adapter") == {"home": "separate", "cart": "adapter"}


def test_the_prior_is_zero_without_data_and_grows_with_it() -> None:
    rows: list[Row] = [(f"u{n}", "x", n) for n in range(50)] + [(f"u{n}", "y", 100 + n) for n in range(50)]
    one_sided = log(rows, scenarios=["home"] * 50 + ["cart"] * 50)
    prior = scenario_prior(one_sided)
    home, x, y = one_sided.scenarios.index("home"), *(one_sided.item_ids.index(name) for name in "xy")
    assert not prior[0].any()  # the whole shop
    assert prior[home, x] == pytest.approx(np.log(70 / 45))  # chosen 50, expected 25, 20 of shrinkage
    assert prior[home, y] == pytest.approx(np.log(20 / 45))
    few = log(rows[:2] + rows[50:52], scenarios=["home"] * 2 + ["cart"] * 2)
    assert 0 < scenario_prior(few)[few.scenarios.index("home"), few.item_ids.index("x")] < 0.1
    silent = replace(one_sided, scenarios=[*one_sided.scenarios, "no events"])
    assert not scenario_prior(silent)[-1].any()
    assert not scenario_prior(log(rows, type="view", scenarios=["home"] * 100)).any()


SHARED_FIRST = ["apple", "pear", "plum", "cherry", "quince", "fig", "grape", "melon"]


@pytest.fixture(scope="module")
def fitted() -> tuple[Snapshot, Interactions, Inputs]:
    """In scenario "up" people go up the alphabet, in "down" they go down it: the past says little without the scenario."""
    names, rows, scenarios = sorted(SHARED_FIRST), [], []
    rng = np.random.default_rng(0)
    for user in range(300):
        place = int(rng.integers(2, 6))
        for n in range(5):
            rows.append((f"u{user:03}", names[place], n * 400.0 + user))
            step = 1 if (user + n) % 2 else -1
            scenarios.append("up" if step == 1 else "down")
            place = int(np.clip(place + step * int(rng.integers(1, 3)), 0, 7))
    order = sorted(range(len(rows)), key=lambda n: rows[n][2])
    data_shop = shop([rows[n] for n in order], scenarios=[scenarios[n] for n in order], titles={n: n for n in names})
    data = interactions(data_shop)
    inputs = encode_inputs(data_shop, data, Encoder(), no_progress)
    config = FitConfig(training=TrainingConfig(epochs=2, seed=1, predict_repeats=True), repeats="allow")
    return fit(data, inputs, config, no_progress), data, inputs


def asked(snapshot: Snapshot, scenario: str) -> UserBatch:
    past = [[HistoryItem(row, 2, 0.0), HistoryItem(row + 1, 2, 60.0)] for row in range(6)]
    row = snapshot.scenarios().row(scenario)
    return fold_users(past, [3600.0] * 6, np.zeros((6, 384), np.float32), [row] * 6)


def towers_lists(snapshot: Snapshot, scenario: str) -> list[list[int]]:
    found = snapshot.recommend(
        asked(snapshot, scenario), snapshot.space(), snapshot.scenarios(), 8, weights=[{"two_tower": 1.0}] * 6
    )
    return [candidates.rows_C.tolist() for candidates in found]


def vectors(snapshot: Snapshot, scenario: str) -> np.ndarray:
    source = TwoTowerSource(snapshot.runner, snapshot.scenarios())
    return source.user_vectors(asked(snapshot, scenario), snapshot.space())


def choosing(snapshot: Snapshot, **transfer: object) -> Snapshot:
    return replace_manifest(snapshot, transfer=transfer)


def test_what_is_served_follows_the_choice(fitted: tuple[Snapshot, Interactions, Inputs], tmp_path: Path) -> None:
    snapshot, data, inputs = fitted
    row = data.scenarios.index("up")
    config = TrainingConfig(predict_repeats=True, learning_rate=2e-2)
    delta = separate_tower(snapshot.runner.towers, data, inputs, config, row, no_progress)
    kept = replace(snapshot, runner=TowerRunner(snapshot.runner.towers, {"up": delta}))
    adapter = choosing(kept, choices={"up": "adapter"})
    shared = choosing(kept, choices={"up": "shared"})
    own = choosing(kept, choices={"up": "separate"})
    assert np.allclose(vectors(shared, "up"), vectors(shared, ""), atol=1e-6)
    assert not np.allclose(vectors(adapter, "up"), vectors(adapter, ""), atol=1e-4)
    assert not np.allclose(vectors(own, "up"), vectors(adapter, "up"), atol=1e-3)
    assert np.allclose(vectors(own, "down"), vectors(adapter, "down"), atol=1e-6)  # others are left alone

    own.save(tmp_path / "model")
    loaded = Snapshot.load(tmp_path / "model")
    assert loaded.transfer.of("up") == "separate"
    assert np.allclose(vectors(loaded, "up"), vectors(own, "up"), atol=1e-6)
    assert towers_lists(loaded, "up") == towers_lists(own, "up")
    assert (tmp_path / "model" / separate.FILE).stat().st_size < 2.5 * sum(
        p.numel() for p in snapshot.runner.towers.user.parameters()
    )


def test_a_separate_tower_leaves_items_and_shared_tower_alone_and_learns_its_scenario(
    fitted: tuple[Snapshot, Interactions, Inputs],
) -> None:
    snapshot, data, inputs = fitted
    before = {name: value.clone() for name, value in snapshot.runner.towers.state_dict().items()}
    config = TrainingConfig(predict_repeats=True, learning_rate=2e-2)
    delta = separate_tower(snapshot.runner.towers, data, inputs, config, data.scenarios.index("up"), no_progress)
    for name, value in snapshot.runner.towers.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not [name for name in delta if name.startswith("scenario.")]
    assert sum(float(values.abs().sum()) for values in delta.values()) > 0


def test_a_prior_moves_its_items_up_and_only_in_its_scenario(fitted: tuple[Snapshot, Interactions, Inputs]) -> None:
    snapshot, data, _ = fitted
    last, row = 0, data.scenarios.index("up")
    prior = np.zeros_like(snapshot.prior_SN)
    prior[row, last] = 100.0
    strong = replace(snapshot, prior_SN=prior)
    off: Mapping[str, object] = {"prior_weights": {"up": 0.0}}
    assert towers_lists(choosing(strong, **off), "up") == towers_lists(choosing(snapshot), "up")
    boosted = choosing(strong, prior_weights={"up": 1.0})
    assert {rows[0] for rows in towers_lists(boosted, "up")} == {last}
    assert towers_lists(boosted, "down") == towers_lists(choosing(snapshot), "down")


def test_the_report_stands_in_the_manifest(fitted: tuple[Snapshot, Interactions, Inputs]) -> None:
    transfer = fitted[0].transfer
    assert set(transfer.report) == {"up", "down"}
    for name, row in transfer.report.items():
        assert isinstance(row, dict), name
        assert row["choice"] == transfer.of(name)
        assert {"shared", "adapter"} <= set(row["ndcg@10"])
        assert row["gain_over_shared"]["adapter"]["mean"] == pytest.approx(
            row["ndcg@10"]["adapter"] - row["ndcg@10"]["shared"]
        )
