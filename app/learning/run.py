"""The retraining run, top to bottom: past and future -> tune on the past -> judge on the future -> gate -> fit on everything.

    events ── temporal split ──► past ── tune, extend ──► trial ──┐
                           └───► future ───────────────► judge beside the live trial, popularity, item-KNN ─► gate
    past + future ── extend ──► snapshot, published with its trial inside

The *trial* is what the same recipe made of the past alone. It is kept in the artifact, so that the next run can judge a live
model that has not seen the future it is judged on.
"""

from __future__ import annotations

import math
import resource
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import polars as pl

from app.encoding.encoder import Encoder
from app.errors import BadArtifact, BadData
from app.learning.assembly import replace_manifest
from app.learning.checkpoint import Checkpoints
from app.learning.dataset import Interactions
from app.learning.evaluation.compare import Judged, judge
from app.learning.evaluation.peers import CHEAP, PEERS
from app.learning.evaluation.peers.peer import rank
from app.learning.evaluation.rank import Ranker, last_scenario
from app.learning.fit import extend, tune
from app.learning.fit_config import FitConfig
from app.learning.gate import Ruling, rule
from app.learning.inputs import Inputs, encode_inputs
from app.learning.jobs import Job
from app.learning.private_budget import require_opacus
from app.learning.splits import Split, temporal
from app.learning.training_config import TrainingConfig
from app.learning.warm_start import continue_from, fits, newest, retuned
from app.release.version import ModelVersion
from app.retrieval.ranker import SlateRanker
from app.retrieval.snapshot import Snapshot
from app.scenarios.scenario import Scenario
from app.types import Json, Progress

TRIAL = "trial"  # folder of the trial inside an artifact
PRIVACY = "privacy"  # likewise, of differentially private towers: the manifest's statement of ε
TRANSFER = "transfer"  # the transfer report among a version's metrics: scenario -> figures and choice
RANKER = "ranker"  # beside it: who orders in each scenario and by what figures, and how well the chances hold
MIN_EVENTS = 20
MIN_SCENARIO_USERS = 20  # judged users below which a scenario has no figures of its own
STAGES: Mapping[str, float] = {
    "encode texts": 0.10, "tune": 0.50, "fit on the past": 0.12, "judge": 0.08, "fit on everything": 0.18, "publish": 0.02,
}  # fmt: skip


@dataclass(frozen=True)
class Material:
    """items, users: ITEM_SCHEMA and USER_SCHEMA. data: their events; rows of `items` are its item rows."""

    items: pl.DataFrame
    users: pl.DataFrame
    data: Interactions


@dataclass(frozen=True)
class RetrainDeps:
    """material: as read for training. note: what the log shall say of it. live: directory of the live artifact. publish: puts a directory up under a version name."""

    material: Material
    scenarios: Mapping[str, Scenario]
    catalogue_revision: int
    encoder: Encoder
    publish: Callable[[Path, str], None]
    live: Path | None = None
    training: TrainingConfig = field(default_factory=TrainingConfig)
    checkpoints: Checkpoints | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Retrained:
    """activate: the gate let it pass (or was overruled by the job) and the job wants it live."""

    version: ModelVersion
    activate: bool


def retrain(job: Job, deps: RetrainDeps, progress: Progress) -> Retrained:
    """Raises BadData when there is nothing to learn from, Cancelled through `progress`. Nothing is published before the end."""
    data = deps.material.data
    if deps.note:
        progress("encode texts", 0.0, deps.note)
    if int(data.is_target_E.sum()) < MIN_EVENTS:
        raise BadData(
            f"{int(data.is_target_E.sum())} events on described items, at least {MIN_EVENTS} are needed to train: "
            "import events or post feedback first"
        )
    if deps.training.dp_epsilon:
        require_opacus()
    live = _live(deps.live)
    if live is not None and not fits(live[0].manifest, deps.encoder.key):
        progress(
            "encode texts", 0.0, "the live model reads texts in another way: it is neither continued nor compared with"
        )
        live = None
    if job.mode == "incremental" and deps.training.dp_epsilon:
        progress(
            "encode texts", 0.0, "differentially private towers are not continued: trained in full, for its whole ε"
        )
        job = replace(job, mode="full")
    if live is None:
        job = replace(job, mode="full")
    warm = live[0].vocabulary if live is not None and job.mode == "incremental" else None
    with_queries = deps.training.query_text_weight > 0
    inputs = encode_inputs(deps.material, data, deps.encoder, progress, deps.scenarios, warm, with_queries)
    config = FitConfig(
        fusion_cases="next_event",
        training=deps.training,
        encoder_key=deps.encoder.key,
        encoder_name=deps.encoder.name,
        mode=job.mode,
        catalogue_revision=deps.catalogue_revision,
        checkpoints=deps.checkpoints,
        scenarios=deps.scenarios,
    )
    # Old events that were imported since move the quantile back: what the live trial has learned from is no future to judge it by.
    holdout = temporal(data, not_before=newest(live[1]) if live is not None else -math.inf)
    if warm is not None and live is not None:
        tell, past = _stage("fit on the past", progress), holdout.train
        trial = continue_from(live[1], past, inputs, config, tell, retuned(live[1], past, inputs, config, tell))
        tell = _stage("fit on everything", progress)
        final = continue_from(live[0], data, inputs, config, tell, retuned(live[1], data, inputs, config, tell))
    else:
        choices, towers = tune(holdout.train, inputs, config, _stage("tune", progress))
        trial = extend(towers, holdout.train, inputs, config, choices, _stage("fit on the past", progress))
        final = extend(trial.runner.towers, data, inputs, config, choices, _stage("fit on everything", progress))
    judged = _judge(trial, live[1] if live else None, data, holdout, inputs, _stage("judge", progress))
    ruling = rule(judged["duoscene"], judged.get("live"), judged["popularity"])
    progress("judge", 1.0, f"gate: {ruling.reason}")
    metrics = {**_metrics(judged, holdout), TRANSFER: dict(trial.transfer.report), RANKER: figures_of(trial.ranker)}
    if trial.manifest.privacy:
        metrics[PRIVACY] = dict(trial.manifest.privacy)
    _publish(replace_manifest(final, metrics=metrics), trial, deps.publish, _stage("publish", progress))
    if deps.checkpoints is not None:
        deps.checkpoints.clear()
    return Retrained(_version(job, final, metrics, ruling), _goes_live(job, ruling))


def _live(directory: Path | None) -> tuple[Snapshot, Snapshot] | None:
    """The live snapshot and its trial; None when there is none or it cannot be read (a broken one must not stop its successor)."""
    if directory is None:
        return None
    try:
        return Snapshot.load(directory), Snapshot.load(directory / TRIAL)
    except BadArtifact:
        return None


def _judge(
    trial: Snapshot, live: Snapshot | None, data: Interactions, holdout: Split, inputs: Inputs, progress: Progress
) -> dict[str, Judged]:
    lists = {"duoscene": Ranker(trial, data, inputs).rank(holdout, 50, "exclude")}
    if live is not None:
        lists["live"] = Ranker(live, data, inputs).rank(holdout, 50, "exclude")
    for done, name in enumerate(CHEAP, start=1):
        peer = PEERS[name]
        scorer = peer.family.fit(holdout.train, peer.defaults, "exclude", 0, progress)
        lists[name] = rank(scorer, holdout, 50, "exclude", peer.family.is_personal)
        progress("judge", done / (len(CHEAP) + 1))
    judged = {name: judge(topk_UK, holdout, inputs.text_NT) for name, topk_UK in lists.items()}
    figures = ", ".join(f"{name} {of.main:.4f}" for name, of in judged.items())
    progress("judge", 1.0, f"NDCG@10 of {len(holdout.users)} users: {figures}")
    return judged


def _metrics(judged: Mapping[str, Judged], holdout: Split) -> dict[str, Json]:
    """{model: {"all" or scenario: {metric: {"mean", "low", "high"}}}}; a scenario's figures are of the users asked for in it."""
    asked = [last_scenario(holdout.train, holdout.train.of(user)) for user in holdout.users.tolist()]
    result: dict[str, Json] = {}
    for name, model in judged.items():
        of_model: dict[str, Json] = {"all": model.as_json()}
        for row, scenario in enumerate(holdout.train.scenarios):
            places = [place for place, other in enumerate(asked) if other == row]
            if scenario and len(places) >= MIN_SCENARIO_USERS:
                of_model[scenario] = model.subset(places).as_json()
        result[name] = of_model
    return result


def figures_of(ranker: SlateRanker) -> dict[str, Json]:
    """What there is to read for people."""
    held = ranker.fitted.parameters
    return {name: held[name] for name in ("choices", "calibration_error", "cases", "logged_slates") if name in held}


def _publish(final: Snapshot, trial: Snapshot, publish: Callable[[Path, str], None], progress: Progress) -> None:
    recall = {"kind": final.index.kind, "recall": final.index.recall()}
    with tempfile.TemporaryDirectory(prefix="duoscene-") as scratch:
        directory = Path(scratch) / final.version
        replace_manifest(final, index=recall).save(directory, final.graphs())
        trial.save(directory / TRIAL)
        progress("publish", 0.5, f"artifact of {sum(p.stat().st_size for p in directory.rglob('*')) / 2**20:.1f} MiB")
        publish(directory, final.version)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    progress("publish", 1.0, f"version {final.version}; peak memory of this process {peak_mib:,.0f} MiB")


def _version(job: Job, final: Snapshot, metrics: Mapping[str, Json], ruling: Ruling) -> ModelVersion:
    return ModelVersion(
        version=final.version,
        created_at=datetime.fromisoformat(final.manifest.created_at),
        mode=job.mode,
        data=final.manifest.data,
        metrics=metrics,
        verdict=ruling.verdict,
        gate_reason=ruling.reason,
        job_id=job.job_id,
    )


def _goes_live(job: Job, ruling: Ruling) -> bool:
    if job.activation == "auto":
        return ruling.verdict != "rejected"
    return job.activation == "force"


def _stage(name: str, progress: Progress) -> Progress:
    """The steps inside report under their own names; the job shows the run's."""
    return lambda _stage, done, note="": progress(name, done, note)
