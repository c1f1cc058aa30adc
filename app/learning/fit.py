"""Fitting one snapshot from interactions: tune on a cut inside them, then fit everything on all of them.

Called by the retraining run and by `duoscene evaluate` alike, so that what is measured is what goes live.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np

from app.learning.assembly import assemble, replace_manifest, vectors_of
from app.learning.dataset import Interactions
from app.learning.evaluation.metrics import per_user
from app.learning.evaluation.rank import Ranker
from app.learning.fit_config import Choices, FitConfig
from app.learning.fusion_stage import fit_fusion_on, next_events_after
from app.learning.guard import Guarded, event_cases, guard, split_cases
from app.learning.inputs import Inputs
from app.learning.private_training import train_privately
from app.learning.ranker_fit import RankerFit
from app.learning.ranker_stage import fit_ranker_on
from app.learning.separate import separate_tower
from app.learning.sources import fit_sources, tune_sources
from app.learning.sources.judge import Judge
from app.learning.splits import Split, validation_cut
from app.learning.training import Trainer, num_steps, tower_config
from app.model.runner import TowerRunner
from app.model.towers import Towers
from app.retrieval.snapshot import Snapshot
from app.retrieval.sources import TwoTowerSource
from app.retrieval.transfer import Transfer
from app.types import Json, Progress

# After tuning, over all the data: passes and their learning rate, against tuning's; and no fewer than two passes, or so many steps.
EXTEND_SHARE, EXTEND_RATE, EXTEND_STEPS = 0.25, 0.3, 500
MIN_REPEATS = 50  # cases of wanting an old item again below which `repeat` keeps its defaults


def fit(data: Interactions, inputs: Inputs, config: FitConfig, progress: Progress) -> Snapshot:
    """data: all events the snapshot may know. Raises Cancelled through `progress`."""
    choices, towers = tune(data, inputs, config, progress)
    return extend(towers, data, inputs, config, choices, progress)


def tune(data: Interactions, inputs: Inputs, config: FitConfig, progress: Progress) -> tuple[Choices, Towers]:
    """Early stopping, decay, half-life and fusion weights, each by NDCG@10 on the newest part of `data`.

    Also returns the towers as trained on the older part, for `extend` to go on from.
    """
    inner = validation_cut(data, config.protocol, config.repeats, config.training.seed)
    towers = _towers(data, inputs, config)
    if not len(inner.users):
        if config.training.dp_epsilon:
            spent = train_privately(data, inputs, towers, config.training, progress)
            return Choices(spent.epochs, privacy=spent.as_json()), towers
        log = Trainer(data, inputs, towers, config.training).run(progress, checkpoints=config.checkpoints)
        return Choices(log.best_epoch, report={"note": "too little data to tune on: defaults"}), towers
    past = inner.train
    base = assemble(past, inputs, config, Choices(0), TowerRunner(towers), {}, {})
    ranker = Ranker(base, past, inputs)
    again = repeats_judge(ranker, data, inner, config)
    judge = Judge.of_split(ranker, inner, config.repeats, again, split_cases(inner))
    base = replace(base, fitted=tune_sources(past, inputs, judge, progress))

    privacy: dict[str, Json] = {}
    if config.training.dp_epsilon:
        spent = train_privately(past, inputs, towers, config.training, progress)
        epochs, best_epoch, privacy = spent.epochs, spent.epochs, spent.as_json()
    else:
        score = _towers_score(base, inner, inputs, config)
        log = Trainer(past, inputs, towers, config.training).run(progress, score, config.checkpoints)
        epochs, best_epoch = len(log.losses), log.best_epoch
    runner = TowerRunner(towers)
    tuned = replace(base, runner=runner, vectors_ND=vectors_of(runner, past, inputs))
    guarded = _guarded(tuned, data, inputs, inner, config, epochs, progress)
    tuned = replace(
        replace_manifest(tuned, transfer=asdict(guarded.transfer)), runner=TowerRunner(towers, guarded.deltas)
    )
    fusion, report, calibration = fit_fusion_on(Ranker(tuned, data, inputs), data, inner, config)
    ranker = Ranker(replace_manifest(tuned, fusion=asdict(fusion)), data, inputs)
    ranked = fit_ranker_on(ranker, data, inner, config, progress) if config.ranker else RankerFit()
    progress("tune", 1.0, "validation NDCG@10: " + ", ".join(f"{name} {value:.4f}" for name, value in report.items()))
    validation: dict[str, Json] = {
        "validation_ndcg@10": dict(report),
        "validation_users": len(inner.users),
        "sources": dict(judge.trials),
    }
    parameters = {name: fitted.parameters for name, fitted in base.fitted.items()}
    return Choices(best_epoch, parameters, fusion, guarded.transfer, validation, calibration, ranked, privacy), towers


def fit_towers(data: Interactions, inputs: Inputs, config: FitConfig, progress: Progress) -> Snapshot:
    """The towers alone, as they stand after early stopping on the cut: for comparing towers with towers."""
    inner = validation_cut(data, config.protocol, config.repeats, config.training.seed)
    towers = _towers(data, inputs, config)
    base = assemble(inner.train, inputs, config, Choices(0), TowerRunner(towers), {}, {})
    score = _towers_score(base, inner, inputs, config)
    log = Trainer(inner.train, inputs, towers, config.training).run(progress, score)
    return assemble(inner.train, inputs, config, Choices(log.best_epoch), TowerRunner(towers), {}, asdict(log))


def extend(
    towers: Towers, data: Interactions, inputs: Inputs, config: FitConfig, choices: Choices, progress: Progress
) -> Snapshot:
    """A snapshot of all of `data`: the towers go on from where they are (they are not changed in place), the rest is fitted anew.

    Private towers stay as they are: another training would spend ε again.
    """
    if config.training.dp_epsilon:
        fitted = fit_sources(data, inputs, choices.sources)
        return assemble(data, inputs, config, choices, TowerRunner(towers), fitted, {})
    least = min(2, max(1, round(EXTEND_STEPS / num_steps(data))))
    epochs = max(least, round(EXTEND_SHARE * choices.epochs))
    training = replace(config.training, epochs=epochs, learning_rate=config.training.learning_rate * EXTEND_RATE)
    towers = copy.deepcopy(towers)
    log = Trainer(data, inputs, towers, training).run(progress, checkpoints=config.checkpoints)
    deltas = {
        name: separate_tower(towers, data, inputs, config.training, list(data.scenarios).index(name), progress)
        for name in choices.transfer.separate
        if name in data.scenarios
    }
    fitted = fit_sources(data, inputs, choices.sources)
    return assemble(data, inputs, config, choices, TowerRunner(towers, deltas), fitted, asdict(log))


def _towers_score(base: Snapshot, inner: Split, inputs: Inputs, config: FitConfig) -> Callable[[TowerRunner], float]:
    """NDCG@10 of towers on the validation cut."""

    def score(runner: TowerRunner) -> float:
        snapshot = replace(base, runner=runner, vectors_ND=vectors_of(runner, inner.train, inputs))
        ranker = Ranker(snapshot, inner.train, inputs)
        topk_UK = ranker.rank(inner, 10, config.repeats, weights={TwoTowerSource.name: 1.0})
        return float(per_user(topk_UK, inner.targets)["ndcg@10"].mean())

    return score


def _guarded(
    tuned: Snapshot,
    data: Interactions,
    inputs: Inputs,
    inner: Split,
    config: FitConfig,
    epochs: int,
    progress: Progress,
) -> Guarded:
    """Judged like the fusion: as the protocol does, or on next events. Private towers are not chosen among by what users did, and a
    scenario's own would spend ε again: the adapter serves."""
    if not config.guard or config.training.dp_epsilon:
        return Guarded(Transfer(), {})
    log, cases = inner.train, split_cases(inner)
    if config.fusion_cases == "next_event" and config.protocol == "temporal":
        log, cases = data, event_cases(*next_events_after(data, inner, config), data.scenarios)
    return guard(tuned, data, inputs, inner, log, cases, config.repeats, config.training, epochs, progress)


def repeats_judge(ranker: Ranker, data: Interactions, inner: Split, config: FitConfig) -> Judge | None:
    """On next events on items the shopper had before; None where repeats are judged anyway, or where there are too few."""
    if config.repeats == "allow" or config.protocol != "temporal":
        return None
    asks, targets = next_events_after(data, inner, config, "allow")
    again = [place for place, ask in enumerate(asks) if np.isin(targets[place], data.item_E[ask.past]).any()]
    if len(again) < MIN_REPEATS:
        return None
    cases = ([asks[place] for place in again], [targets[place] for place in again])
    return Judge(ranker, data, cases, "allow", ranker.allowed(inner))


def _towers(data: Interactions, inputs: Inputs, config: FitConfig) -> Towers:
    import torch

    torch.manual_seed(config.training.seed)
    without_users = {"has_id": False} if config.training.dp_epsilon else {}  # ids and counts speak of users
    return Towers(tower_config(data, inputs, **{**config.towers, **without_users}))
