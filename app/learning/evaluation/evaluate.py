"""`duoscene evaluate`: train on the split's past, rank the whole catalogue, stand beside the peers. Needs no database."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from app.catalogue.shop_data import ShopData
from app.encoding.encoder import Encoder
from app.errors import BadData, Invalid
from app.learning.dataset import Interactions, interactions
from app.learning.evaluation.compare import Judged, difference, judge
from app.learning.evaluation.peers import PEERS
from app.learning.evaluation.rank import Ranker
from app.learning.fit import FitConfig, fit
from app.learning.inputs import Inputs, encode_inputs
from app.learning.splits import Protocol, Repeats, Split, split
from app.learning.training import TrainingConfig
from app.types import Float32Array, Int64Array, Json, Progress

OURS = "duoscene"
MODELS = (*PEERS, OURS)
LIST_LENGTH, DUMPED = 50, 20
USER_SLICES = {"2-4": (2, 4), "5-19": (5, 19), "20+": (20, 10**9)}  # by training events
MIN_SLICE_USERS = 10


@dataclass(frozen=True)
class EvaluateConfig:
    """events: types kept (empty: all). min_value: events of a smaller value are dropped. max_users: judged at most."""

    protocol: Protocol = "temporal"
    repeats: Repeats = "exclude"
    events: tuple[str, ...] = ()
    min_value: float | None = None
    models: tuple[str, ...] = MODELS
    max_users: int | None = None
    seed: int = 0
    training: TrainingConfig = field(default_factory=TrainingConfig)


@dataclass(frozen=True)
class Evaluation:
    """report: as written by --json. topk: user_id, rank, item_id, score of our slates; None when we were not asked."""

    report: dict[str, Json]
    topk: pl.DataFrame | None


def evaluate(shop: ShopData, encoder: Encoder, config: EvaluateConfig, progress: Progress) -> Evaluation:
    """Raises Invalid for an unknown model, BadData when nothing is left to judge."""
    unknown = set(config.models) - set(MODELS)
    if unknown:
        raise Invalid(f"unknown model {sorted(unknown)[0]!r}; known: {', '.join(MODELS)}", code="unknown_model")
    data = interactions(replace(shop, events=_filtered(shop.events, config)))
    whole = split(data, config.protocol, config.repeats)
    if not len(whole.users):
        raise BadData("no user has both a past and a future under this split; look at --events and --min-value")
    judged_split = _sampled(whole, config.max_users, config.seed)
    lists: dict[str, Int64Array] = {}
    seconds: dict[str, float] = {}
    for name in config.models:
        if name in PEERS:
            started = time.monotonic()
            lists[name] = PEERS[name](judged_split, LIST_LENGTH, config.repeats)
            seconds[name] = time.monotonic() - started
            progress("peers", 1.0, f"{name}: {seconds[name]:.1f} s")
    topk, text_NT = None, np.zeros((len(data.item_ids), 1), np.float32)
    details: dict[str, Json] = {}
    ranker: Ranker | None = None
    if OURS in config.models:
        inputs = encode_inputs(shop, data, encoder, progress)
        text_NT, started = inputs.text_NT, time.monotonic()
        ranker, details = _fit_ours(whole, data, inputs, encoder, config, progress)
        seconds[OURS] = time.monotonic() - started
        lists[OURS], scores_UK = ranker.slates(judged_split, LIST_LENGTH, config.repeats)
        topk = _dump(lists[OURS], scores_UK, judged_split)
    judged = {name: judge(lists[name], judged_split, text_NT) for name in config.models}
    by_scenario = _by_scenario(judged_split, lists, ranker, text_NT, config.repeats)
    report: dict[str, Json] = {
        "split": _split_figures(whole, judged_split, config),
        "models": {
            name: {
                "all": model.as_json(),
                "users": _by_history(model, judged_split),
                "scenarios": {scenario: of[name].as_json() for scenario, of in by_scenario.items()},
                "seconds": seconds[name],
            }
            for name, model in judged.items()
        },
        "details": details,
    }
    if OURS in judged:
        deltas = {name: difference(judged[OURS], judged[name]) for name in judged if name != OURS}
        report["differences"] = {name: {"mean": d.mean, "low": d.low, "high": d.high} for name, d in deltas.items()}
    return Evaluation(report, topk)


def _filtered(events: pl.DataFrame, config: EvaluateConfig) -> pl.DataFrame:
    if config.events:
        events = events.filter(pl.col("type").is_in(config.events))
    if config.min_value is not None:
        events = events.filter(pl.col("value") >= config.min_value)
    return events


def _sampled(whole: Split, max_users: int | None, seed: int) -> Split:
    if max_users is None or len(whole.users) <= max_users:
        return whole
    return whole.subset(np.sort(np.random.default_rng(seed).choice(len(whole.users), max_users, replace=False)))


def _fit_ours(
    whole: Split, data: Interactions, inputs: Inputs, encoder: Encoder, config: EvaluateConfig, progress: Progress
) -> tuple[Ranker, dict[str, Json]]:
    training = replace(config.training, seed=config.seed, predict_repeats=config.repeats == "allow")
    fit_config = FitConfig(
        protocol=config.protocol,
        repeats=config.repeats,
        training=training,
        encoder_key=encoder.key,
        encoder_name=encoder.name,
    )
    snapshot = fit(whole.train, inputs, fit_config, progress)
    manifest = snapshot.manifest
    details: dict[str, Json] = {
        "encoder": manifest.encoder,
        "fusion": dict(manifest.fusion),
        "sources": {name: dict(parameters) for name, parameters in manifest.sources.items()},
        "training": dict(manifest.training),
    }
    return Ranker(snapshot, data, inputs), details


def _by_scenario(
    whole: Split, lists: Mapping[str, Int64Array], ranker: Ranker | None, text_NT: Float32Array, repeats: Repeats
) -> dict[str, dict[str, Judged]]:
    """One slate per user and scenario against the targets of that scenario; peers know no scenario and show the same list."""
    result: dict[str, dict[str, Judged]] = {}
    for row, name in enumerate(whole.train.scenarios):
        places, part = whole.in_scenario(row)
        if not name or len(places) < MIN_SLICE_USERS:
            continue
        result[name] = {
            model: judge(topk_UK[places], part, text_NT) for model, topk_UK in lists.items() if model != OURS
        }
        if ranker is not None:
            result[name][OURS] = judge(ranker.rank(part, LIST_LENGTH, repeats, scenario=row), part, text_NT)
    return result


def _by_history(model: Judged, judged_split: Split) -> dict[str, Json]:
    """The same figures by how much is known of the user."""
    counts_U = np.diff(judged_split.train.starts_U1)[judged_split.users]
    result: dict[str, Json] = {}
    for name, (low, high) in USER_SLICES.items():
        places = np.flatnonzero((counts_U >= low) & (counts_U <= high)).tolist()
        if len(places) >= MIN_SLICE_USERS:
            result[name] = {"num_users": len(places), **model.subset(places).as_json()}
    return result


def _split_figures(whole: Split, judged_split: Split, config: EvaluateConfig) -> dict[str, Json]:
    train = whole.train
    return {
        "protocol": config.protocol,
        "repeats": config.repeats,
        "events": list(config.events),
        "min_value": config.min_value,
        "seed": config.seed,
        "train_events": len(train),
        "train_users": int((np.diff(train.starts_U1) > 0).sum()),
        "train_items": len(np.unique(train.item_E)),
        "judged_users": len(judged_split.users),
        "users_with_a_future": len(whole.users),
        "targets": judged_split.num_targets,
        "dropped_targets": dict(whole.dropped),
    }


def _dump(topk_UK: Int64Array, scores_UK: Float32Array, judged_split: Split) -> pl.DataFrame:
    train = judged_split.train
    u, k = np.nonzero(topk_UK[:, :DUMPED] >= 0)
    return pl.DataFrame(
        {
            "user_id": np.asarray(train.user_ids, object)[judged_split.users[u]].tolist(),
            "rank": (k + 1).tolist(),
            "item_id": np.asarray(train.item_ids, object)[topk_UK[u, k]].tolist(),
            "score": scores_UK[u, k].tolist(),
        },
        schema={"user_id": pl.String, "rank": pl.Int32, "item_id": pl.String, "score": pl.Float32},
    )
