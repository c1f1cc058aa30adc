"""Fitting one snapshot from interactions: tune on a cut inside them, then fit everything on all of them.

Called by the retraining run and by `duoscene evaluate` alike, so that what is measured is what goes live.
"""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal

import numpy as np

from app.features.texts import PROMPT_VERSION
from app.learning.calibration_fit import CALIBRATED_RANKS, fit_calibration
from app.learning.checkpoint import Checkpoints
from app.learning.dataset import Interactions
from app.learning.evaluation.metrics import hits, per_user
from app.learning.evaluation.rank import WHOLE_SHOP, Ask, Ranker, asks_of
from app.learning.fusion_cases import CaseTable
from app.learning.fusion_fit import fit_fusion, kind_of
from app.learning.guard import Guarded, event_cases, guard, split_cases
from app.learning.inputs import Inputs
from app.learning.next_events import Cases, next_event_cases, without_history
from app.learning.private_training import train_privately
from app.learning.ranker_cases import (
    MAX_COLD,
    MAX_OTHERS,
    MAX_SLATES,
    as_strangers,
    drawn,
    make_cases,
    outcomes_of,
    slates_after,
)
from app.learning.ranker_fit import RankerFit, fit_ranker
from app.learning.scenario_prior import scenario_prior
from app.learning.separate import separate_tower
from app.learning.sources import DEFAULTS, Parameters, fit_sources, tune_sources
from app.learning.sources.judge import Judge
from app.learning.splits import Protocol, Repeats, Split, validation_cut
from app.learning.training import Trainer, tower_config
from app.learning.training_config import TrainingConfig
from app.model.runner import TowerRunner
from app.model.towers import Towers
from app.retrieval.calibration import Calibration
from app.retrieval.fusion import Fusion
from app.retrieval.manifest import Manifest
from app.retrieval.snapshot import Snapshot
from app.retrieval.sources import Fitted, TwoTowerSource
from app.retrieval.transfer import Transfer
from app.scenarios.scenario import Scenario
from app.types import Int64Array, Json, Progress

EXTEND_SHARE, EXTEND_RATE = (
    0.25,
    0.3,
)  # passes after tuning, over all the data, and their learning rate, against tuning's

ALLOWED: Repeats = "allow"
MIN_REPEATS = 50  # cases of wanting an old item again below which `repeat` keeps its defaults


@dataclass(frozen=True, slots=True)
class FitConfig:
    """protocol, repeats: which kind of future the model is tuned for; the service's is temporal, repeats excluded.

    fusion_cases: what the fusion is fitted on: one slate per user at the cut, as the protocol judges, or the next event of a
    visit, as the service is asked (see `next_events`).
    """

    protocol: Protocol = "temporal"
    repeats: Repeats = "exclude"
    fusion_cases: Literal["split", "next_event"] = "split"
    training: TrainingConfig = field(default_factory=TrainingConfig)
    encoder_key: str = ""
    encoder_name: str = "default"
    mode: str = "full"
    catalogue_revision: int = 0
    towers: Mapping[str, object] = field(default_factory=dict)  # changes to TowerConfig
    guard: bool = True  # False: the adapter in every scenario, no item prior
    ranker: bool = True  # False: fusion orders
    scenarios: Mapping[str, Scenario] = field(default_factory=dict)  # as configured, for which sources they ask
    checkpoints: Checkpoints | None = None  # of the trainings; none: a stopped one starts from zero


@dataclass(frozen=True, slots=True)
class Choices:
    """What tuning chose on the validation cut. sources: candidate source -> its parameters."""

    epochs: int
    sources: Parameters = field(default_factory=lambda: DEFAULTS)
    fusion: Fusion = field(default_factory=Fusion)
    transfer: Transfer = field(default_factory=Transfer)
    report: Mapping[str, Json] = field(default_factory=dict)
    calibration: Calibration = field(default_factory=Calibration)
    ranker: RankerFit = field(default_factory=RankerFit)
    privacy: Mapping[str, Json] = field(default_factory=dict)  # see `private_training.Spent`; empty: trained as usual


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
    tuned = replace(base, runner=runner, vectors_ND=_vectors(runner, past, inputs))
    guarded = _guarded(tuned, data, inputs, inner, config, epochs, progress)
    tuned = replace(
        replace_manifest(tuned, transfer=asdict(guarded.transfer)), runner=TowerRunner(towers, guarded.deltas)
    )
    fusion, report = fit_fusion_on(Ranker(tuned, data, inputs), data, inner, config)
    ranker = Ranker(replace_manifest(tuned, fusion=asdict(fusion)), data, inputs)
    calibration = _calibrated(ranker, data, inner, config)
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


def _towers_score(base: Snapshot, inner: Split, inputs: Inputs, config: FitConfig) -> Callable[[TowerRunner], float]:
    """NDCG@10 of towers on the validation cut."""

    def score(runner: TowerRunner) -> float:
        snapshot = replace(base, runner=runner, vectors_ND=_vectors(runner, inner.train, inputs))
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
        log, cases = data, event_cases(*_next_events(data, inner, config), data.scenarios)
    return guard(tuned, data, inputs, inner, log, cases, config.repeats, config.training, epochs, progress)


def _next_events(data: Interactions, inner: Split, config: FitConfig, repeats: Repeats = "exclude") -> Cases:
    known_N = np.bincount(inner.train.item_E, minlength=len(data.item_ids)).astype(np.int64)
    return next_event_cases(data, inner.now[0], known_N, config.training.seed, repeats)


def repeats_judge(ranker: Ranker, data: Interactions, inner: Split, config: FitConfig) -> Judge | None:
    """On next events on items the shopper had before; None where repeats are judged anyway, or where there are too few."""
    if config.repeats == "allow" or config.protocol != "temporal":
        return None
    asks, targets = _next_events(data, inner, config, "allow")
    again = [place for place, ask in enumerate(asks) if np.isin(targets[place], data.item_E[ask.past]).any()]
    if len(again) < MIN_REPEATS:
        return None
    cases = ([asks[place] for place in again], [targets[place] for place in again])
    return Judge(ranker, data, cases, "allow", ranker.allowed(inner))


def _calibrated(ranker: Ranker, data: Interactions, inner: Split, config: FitConfig) -> Calibration:
    """Chance of a hit by score, on the cases the fusion was fitted on."""
    asks, targets, log = asks_of(inner, WHOLE_SHOP), list(inner.targets), inner.train
    by_event = config.fusion_cases == "next_event" and config.protocol == "temporal"
    if by_event:
        asks, targets = _next_events(data, inner, config)
        log = data
    allowed_R = ranker.allowed(inner)
    topk_AK, scores_AK = ranker.fused(log, asks, CALIBRATED_RANKS, config.repeats, allowed_R, anywhere=not by_event)
    return fit_calibration(scores_AK, hits(topk_AK, targets), topk_AK >= 0)


def fit_fusion_on(
    ranker: Ranker, data: Interactions, inner: Split, config: FitConfig
) -> tuple[Fusion, dict[str, float]]:
    """inner: a cut after which the ranker's snapshot has seen nothing.

    The whole shop's weights on one slate per user, judged by all that is wanted anywhere; a scenario's on the slates of the
    users who want something there, judged by that. Next events know their scenario: there the two are the same cases."""
    asks, targets, log = asks_of(inner, WHOLE_SHOP), list(inner.targets), inner.train
    by_event = config.fusion_cases == "next_event" and config.protocol == "temporal"
    if by_event:
        asks, targets = _next_events(data, inner, config)
        log = data

    def cases(asked: list[Ask], wanted: list[Int64Array], repeats: Repeats = config.repeats) -> CaseTable:
        return CaseTable(ranker.source_lists(log, asked, inner, repeats), wanted, ranker.snapshot.learnable)

    num_shop, names = len(asks), [log.scenarios[ask.scenario] if by_event else "" for ask in asks]
    cold = cases(without_history(asks), targets)
    with_repeats = cases(*_next_events(data, inner, config, "allow"), "allow") if by_event else None
    if not by_event:
        for name, (of_scenario, wanted) in split_cases(inner).items():
            asks, targets, names = asks + of_scenario, targets + wanted, names + [name] * len(wanted)
    return fit_fusion(cases(asks, targets), names, cold, with_repeats, num_shop)


def fit_ranker_on(ranker: Ranker, data: Interactions, inner: Split, config: FitConfig, progress: Progress) -> RankerFit:
    """inner: as in `fit_fusion_on`. On logged slates and next events, as the service is asked; or on what the protocol judges."""
    seed, fusion = config.training.seed, ranker.snapshot.fusion
    if not len(inner.users):
        return RankerFit()
    if config.fusion_cases == "next_event" and config.protocol == "temporal":
        log, repeats = data, ALLOWED  # the service shows past items that no rule keeps out
        known_N = np.bincount(inner.train.item_E, minlength=len(data.item_ids)).astype(np.int64)
        slates = slates_after(data, inner.now[0], known_N, seed)
        others = outcomes_of(data, _next_events(data, inner, config))
    else:
        log, repeats = inner.train, config.repeats
        slates = drawn(outcomes_of(data, (asks_of(inner, WHOLE_SHOP), list(inner.targets))), MAX_SLATES, seed)
        parts = [pair for of in split_cases(inner).values() for pair in zip(*of, strict=True)]
        others = outcomes_of(data, ([ask for ask, _ in parts], [wanted for _, wanted in parts]))
    others = drawn(others, MAX_OTHERS, seed)
    outcomes = [*slates, *others, *as_strangers([*slates, *others], MAX_COLD, seed)]
    cases = make_cases(ranker, log, outcomes, inner, repeats, config.scenarios, progress)
    prices = ranker.inputs.item_frame["price"].drop_nulls()
    return fit_ranker(
        cases, data.scenarios, ranker.inputs.scenario_text_ST, kind_of(fusion), seed, progress,
        exclude_had=config.repeats == "exclude", home=data.shown.home,
        median_price=float(prices.median() or 1.0) if len(prices) else 1.0,  # type: ignore[arg-type]
    )  # fmt: skip


def extend(
    towers: Towers, data: Interactions, inputs: Inputs, config: FitConfig, choices: Choices, progress: Progress
) -> Snapshot:
    """A snapshot of all of `data`: the towers go on from where they are (they are not changed in place), the rest is fitted anew.

    Private towers stay as they are: another training would spend ε again.
    """
    if config.training.dp_epsilon:
        fitted = fit_sources(data, inputs, choices.sources)
        return assemble(data, inputs, config, choices, TowerRunner(towers), fitted, {})
    epochs = max(2, round(EXTEND_SHARE * choices.epochs))
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


def replace_manifest(snapshot: Snapshot, **changes: object) -> Snapshot:
    return replace(snapshot, manifest=replace(snapshot.manifest, **changes))  # type: ignore[arg-type]


def _towers(data: Interactions, inputs: Inputs, config: FitConfig) -> Towers:
    import torch

    torch.manual_seed(config.training.seed)
    without_users = {"has_id": False} if config.training.dp_epsilon else {}  # ids and counts speak of users
    return Towers(tower_config(data, inputs, **{**config.towers, **without_users}))


def _vectors(
    runner: TowerRunner, data: Interactions, inputs: Inputs
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    counts_N = data.collapsed.item_counts_N
    ids_N = np.where(counts_N > 0, np.arange(1, len(counts_N) + 1), 0)
    return runner.item_vectors(ids_N, inputs.text_NT, counts_N, inputs.features)


def assemble(
    data: Interactions,
    inputs: Inputs,
    config: FitConfig,
    choices: Choices,
    runner: TowerRunner,
    fitted: Mapping[str, Fitted],
    training: Mapping[str, Json],
) -> Snapshot:
    """Everything fitted on `data`, as one snapshot. training: what the manifest shall say of it."""
    now = datetime.now(UTC)
    known = data.at_E[data.at_E > 0]
    window = (
        [datetime.fromtimestamp(at, UTC).isoformat() for at in (known.min(), known.max())]
        if len(known)
        else [None, None]
    )
    manifest = Manifest(
        version=new_version(now),
        created_at=now.isoformat(),
        mode=config.mode,
        seed=config.training.seed,
        encoder=config.encoder_key,
        encoder_name=config.encoder_name,
        text_dim=inputs.text_NT.shape[1],
        prompt_version=PROMPT_VERSION,
        data={
            "from": window[0],
            "until": window[1],
            "events": len(data),
            "users": len(np.unique(data.user_E)),
            "items": len(data.item_ids),
        },
        scenarios=tuple(data.scenarios),
        vocabulary=asdict(inputs.vocabulary),
        fusion=asdict(choices.fusion),
        calibration=asdict(choices.calibration),
        transfer=asdict(choices.transfer),
        ranker=choices.ranker.parameters,
        sources={name: source.parameters for name, source in fitted.items()},
        training={**training, **choices.report, "epochs": choices.epochs},
        privacy=choices.privacy,
        catalogue_revision=config.catalogue_revision,
    )
    return Snapshot(
        manifest=manifest,
        items=inputs.item_frame,
        runner=runner,
        vectors_ND=_vectors(runner, data, inputs),
        item_counts_N=data.collapsed.item_counts_N,
        scenario_text_ST=inputs.scenario_text_ST,
        prior_SN=scenario_prior(data),
        fitted=fitted,
        ranker_arrays=choices.ranker.arrays,
    )


def new_version(now: datetime) -> str:
    """Time and four hex digits, e.g. 2026-01-31T12-00-00Z-ab12."""
    digest = hashlib.blake2b(f"{now.isoformat()}{time.monotonic_ns()}".encode(), digest_size=2).hexdigest()
    return f"{now:%Y-%m-%dT%H-%M-%SZ}-{digest}"
