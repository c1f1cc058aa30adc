"""Differentially private towers: what each step may know of a user, what is spent, and what is never read."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from opacus.accountants import RDPAccountant

from app.encoding.encoder import Encoder
from app.errors import BadSettings
from app.features.users import HistoryItem, fold_users
from app.learning import private_training
from app.learning.dataset import Interactions, interactions
from app.learning.fit import fit
from app.learning.fit_config import FitConfig
from app.learning.inputs import Inputs, encode_inputs
from app.learning.private_budget import MIN_USERS, budget_for
from app.learning.private_records import RecordReader
from app.learning.private_training import (
    CLIPPING_NORM,
    PrivateGradients,
    UserLoss,
    secret_normal,
    still_vectors,
    train_privately,
)
from app.learning.run import TRIAL, retrain
from app.learning.training import Trainer, centre, tower_config
from app.learning.training_config import TrainingConfig
from app.model.config import TowerConfig
from app.model.towers import Towers
from app.retrieval.manifest import Manifest
from app.retrieval.snapshot import Snapshot
from app.types import no_progress
from tests.unit.learning.test_fit import TEA, checkerboard, deps, job

NUM_USERS = MIN_USERS + 20
PRIVATE = TrainingConfig(dp_epsilon=8.0, epochs=3, seed=3)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder()


@pytest.fixture(scope="module")
def material(encoder: Encoder) -> tuple[Interactions, Inputs]:
    shop = checkerboard(NUM_USERS)
    data = interactions(shop)
    return data, encode_inputs(shop, data, encoder, no_progress)


def towers_for(data: Interactions, inputs: Inputs) -> Towers:
    torch.manual_seed(0)
    towers = Towers(tower_config(data, inputs, has_id=False))
    centre(towers, inputs)
    return towers.eval()


def gradients_of(data: Interactions, inputs: Inputs, towers: Towers) -> PrivateGradients:
    loss = UserLoss(towers, torch.from_numpy(inputs.scenario_text_ST))
    return PrivateGradients(loss, torch.from_numpy(still_vectors(towers, inputs)))


@pytest.mark.parametrize("epsilon", [0.5, 3.0, 8.0])
def test_no_more_is_spent_than_was_asked_for(epsilon: float) -> None:
    budget = budget_for(epsilon, 5_000)
    accountant = RDPAccountant()
    for _ in range(budget.steps):
        accountant.step(noise_multiplier=budget.noise_multiplier, sample_rate=budget.sample_rate)
    assert 0.9 * epsilon < accountant.get_epsilon(budget.delta) <= epsilon
    assert budget.epsilon == pytest.approx(accountant.get_epsilon(budget.delta))
    assert budget.delta < 1 / 5_000


def test_a_smaller_epsilon_takes_more_noise() -> None:
    assert budget_for(3.0, 5_000).noise_multiplier > 1.5 * budget_for(8.0, 5_000).noise_multiplier


def test_a_users_gradient_is_clipped_and_knows_nobody_else(material: tuple[Interactions, Inputs]) -> None:
    """The scaled-up loss would pass the norm by far; and alone, a user's gradient is what it is among others."""
    data, inputs = material
    gradients = gradients_of(data, inputs, towers_for(data, inputs))
    reader = RecordReader(data.collapsed, inputs, without_chance(data, inputs), PRIVATE)
    items = torch.arange(len(data.item_ids))
    records = reader.read(reader.users[:24], np.random.default_rng(0))
    together_BW, loss_B = gradients.clipped(records, items)
    assert bool((together_BW.norm(dim=1) <= CLIPPING_NORM * (1 + 1e-5)).all())
    assert bool((together_BW.norm(dim=1) > 0.9 * CLIPPING_NORM).any()), "no gradient was long enough to be clipped"
    alone_1W, alone_1 = gradients.clipped(reader.read(reader.users[5:6], np.random.default_rng(0)), items)
    torch.testing.assert_close(alone_1W[0], together_BW[5], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(alone_1[0], loss_B[5], rtol=1e-4, atol=1e-5)


def without_chance(data: Interactions, inputs: Inputs) -> TowerConfig:
    """Two readings are the same."""
    return tower_config(data, inputs, scenario_left_out=0.0, scenario_dropout=0.0)


def test_each_gradient_is_that_of_autograd(material: tuple[Interactions, Inputs]) -> None:
    data, inputs = material
    towers = towers_for(data, inputs)
    gradients = gradients_of(data, inputs, towers)
    reader = RecordReader(data.collapsed, inputs, without_chance(data, inputs), PRIVATE)
    records = reader.read(reader.users[:1], np.random.default_rng(0))
    items = torch.arange(len(data.item_ids))
    loss = UserLoss(towers, torch.from_numpy(inputs.scenario_text_ST))
    columns = [column[0] for column in records.columns()]
    value = loss(torch.from_numpy(still_vectors(towers, inputs)), items, *columns)
    value.backward()
    own = dict(loss.named_parameters())
    plain_W = torch.cat(
        [(torch.zeros_like(own[n]) if own[n].grad is None else own[n].grad).flatten() for n in gradients.trained]
    )
    expected_W = plain_W * min(1.0, CLIPPING_NORM / float(plain_W.norm()))
    torch.testing.assert_close(gradients.clipped(records, items)[0][0], expected_W, rtol=1e-3, atol=1e-5)


def test_noise_is_standard_normal_and_never_the_same() -> None:
    first, second = secret_normal(200_000), secret_normal(200_000)
    assert abs(float(first.mean())) < 0.02
    assert abs(float(first.std()) - 1.0) < 0.02
    assert abs(float((first * second).mean())) < 0.02


def test_the_item_side_knows_nothing_of_any_user(encoder: Encoder, material: tuple[Interactions, Inputs]) -> None:
    """A neighbour: all that one user did is taken away. Not a bit of the item vectors, nor of any weight that stood still, moves."""
    data, inputs = material
    neighbour = data.where(data.user_E != 7)
    private, other = (
        fit(of, inputs, FitConfig(training=PRIVATE, encoder_key=encoder.key, ranker=False), no_progress)
        for of in (data, neighbour)
    )
    np.testing.assert_array_equal(private.vectors_ND, other.vectors_ND)
    theirs = other.runner.towers.state_dict()
    for name, value in private.runner.towers.state_dict().items():
        assert name.startswith("user.") or torch.equal(value, theirs[name]), name
    plain = replace(PRIVATE, dp_epsilon=0.0)
    trained, without = (
        fit(of, inputs, FitConfig(training=plain, encoder_key=encoder.key, ranker=False), no_progress)
        for of in (data, neighbour)
    )
    assert not np.array_equal(trained.vectors_ND, without.vectors_ND), "the comparison could not have failed"


def test_a_private_snapshot_says_what_was_spent_and_serves(
    encoder: Encoder, material: tuple[Interactions, Inputs], tmp_path
) -> None:
    data, inputs = material
    notes: list[str] = []
    snapshot = fit(
        data,
        inputs,
        FitConfig(training=PRIVATE, encoder_key=encoder.key),
        lambda stage, done, note="": notes.append(note),
    )
    said = snapshot.manifest.privacy
    assert 0 < said["epsilon"] <= 8.0  # type: ignore[operator]
    assert {
        "delta",
        "noise_multiplier",
        "clipping_norm",
        "sample_rate",
        "steps",
        "covers",
        "not_covered",
    } <= said.keys()
    assert any("epsilon" in note and "Not covered" in note for note in notes)
    assert not snapshot.runner.deltas
    assert not snapshot.runner.towers.config.has_id
    snapshot.save(tmp_path)
    loaded = Snapshot.load(tmp_path)
    assert Manifest.read(tmp_path).privacy == said
    assert len(top(loaded, TEA[:6], 2)) == 2


def test_it_learns_where_there_is_no_noise(
    material: tuple[Interactions, Inputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, inputs = material
    drawn = np.random.default_rng(0)
    monkeypatch.setattr(private_training, "secret_uniform", drawn.random)
    monkeypatch.setattr(private_training, "secret_normal", torch.zeros)
    monkeypatch.setattr(private_training, "LEARNING_RATE", 2e-3)
    towers = towers_for(data, inputs)
    before = mean_loss(data, inputs, towers)
    train_privately(data, inputs, towers, replace(PRIVATE, epochs=10), no_progress)
    assert mean_loss(data, inputs, towers) < 0.95 * before


def mean_loss(data: Interactions, inputs: Inputs, towers: Towers) -> float:
    reader = RecordReader(data.collapsed, inputs, without_chance(data, inputs), PRIVATE)
    records = reader.read(reader.users, np.random.default_rng(0))
    _, loss_B = gradients_of(data, inputs, towers).clipped(records, torch.arange(len(data.item_ids)))
    return float(loss_B.mean())


def top(snapshot: Snapshot, history: list[str], num: int) -> list[str]:
    past = [HistoryItem(snapshot.row_of[item], 2, 0.0) for item in history]
    users = fold_users([past], [3600.0], np.zeros((1, 384), np.float32), [0])
    excluded = [np.asarray([entry.row for entry in past], np.int64)]
    found = snapshot.recommend(
        users, snapshot.space(), snapshot.scenarios(), num, weights=[{"two_tower": 1.0}], excluded=excluded
    )
    return [snapshot.item_ids[row] for row in found[0].rows_C]


def test_an_increment_is_a_full_private_training(encoder: Encoder, tmp_path: Path) -> None:
    """Live is a model that was trained without noise: the private one takes nothing from it."""
    first = retrain(job(), deps(checkerboard(NUM_USERS), encoder, tmp_path), no_progress)
    assert "privacy" not in first.version.metrics
    notes: list[str] = []
    wanted = deps(checkerboard(NUM_USERS), encoder, tmp_path, live=tmp_path / first.version.version)
    second = retrain(
        job("incremental"), replace(wanted, training=PRIVATE), lambda stage, done, note="": notes.append(note)
    )
    assert second.version.mode == "full"
    assert any("trained in full" in note for note in notes)
    artifact = tmp_path / second.version.version
    final, trial = Snapshot.load(artifact), Snapshot.load(artifact / TRIAL)
    assert second.version.metrics["privacy"] == final.manifest.privacy == trial.manifest.privacy
    assert not final.runner.towers.config.has_id
    theirs = trial.runner.towers.state_dict()
    for name, value in final.runner.towers.state_dict().items():
        assert torch.equal(value, theirs[name]), f"{name}: another training, whose epsilon nobody counted"


def test_too_few_users_hide_nobody(material: tuple[Interactions, Inputs]) -> None:
    data, inputs = material
    few = data.where(data.user_E < MIN_USERS - 1)
    with pytest.raises(BadSettings, match=f"{MIN_USERS - 1} users to train on"):
        train_privately(few, inputs, towers_for(data, inputs), PRIVATE, no_progress)


def test_without_opacus_it_says_what_to_install_and_all_else_trains(
    encoder: Encoder, material: tuple[Interactions, Inputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, inputs = material
    found = importlib.util.find_spec
    before = plain_weights(data, inputs)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "opacus" else found(name, *a))
    monkeypatch.setitem(sys.modules, "opacus", None)  # importing it fails
    with pytest.raises(BadSettings, match="pip install 'opacus"):
        fit(data, inputs, FitConfig(training=PRIVATE, encoder_key=encoder.key), no_progress)
    after = plain_weights(data, inputs)
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def plain_weights(data: Interactions, inputs: Inputs) -> dict[str, torch.Tensor]:
    """Of an ordinary training, on one thread: bit by bit the same every time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        torch.manual_seed(0)
        towers = Towers(tower_config(data, inputs))
        Trainer(data, inputs, towers, TrainingConfig(epochs=2, seed=3)).run(no_progress)
    finally:
        torch.set_num_threads(threads)
    assert bool(towers.item.id.weight.any())
    return towers.state_dict()
