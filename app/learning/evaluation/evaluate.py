"""`duoscene evaluate`: train on the split's past, rank the whole catalogue, stand beside the peers. Needs no database.

events ── split ──► past ── peers: tune on a cut inside it, fit, rank ─┐
              │      └──── ours: fit (the retraining's), rank ─────────┼──► judged, compared, cut into slices ──► report
              └──► future: targets of the judged users ────────────────┘
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from app.catalogue.shop_data import EventfulShop
from app.encoding.encoder import Encoder
from app.errors import BadData, Invalid
from app.learning.dataset import Interactions, interactions
from app.learning.evaluation.ours import OurLists, Wanted, dump, run_ours
from app.learning.evaluation.peers import PEERS
from app.learning.evaluation.peers.running import PeerBudget, PeerLists, run_peers
from app.learning.evaluation.report import OURS, Material, report_of
from app.learning.evaluation.slices import MAX_STRANGERS, MIN_SLICE_USERS, new_items, strangers
from app.learning.fit_config import FitConfig
from app.learning.inputs import Inputs, encode_inputs
from app.learning.private_budget import require_opacus
from app.learning.splits import Protocol, Repeats, Split, split
from app.learning.training_config import TrainingConfig
from app.scenarios.defaults import READY_MADE
from app.types import Json, Progress

MODELS = (*PEERS, OURS)
LIST_LENGTH = 50
TUNING_SECONDS = 1_800.0


@dataclass(frozen=True)
class EvaluateConfig:
    """events: types kept (empty: all). min_value: events of a smaller value are dropped. max_users: judged at most.

    num_seeds: fits of ours and of the stochastic peers, from `seed` on. tuning_seconds: of each family of peers, at most.
    """

    protocol: Protocol = "temporal"
    repeats: Repeats = "exclude"
    events: tuple[str, ...] = ()
    min_value: float | None = None
    models: tuple[str, ...] = MODELS
    max_users: int | None = None
    seed: int = 0
    num_seeds: int = 1
    tuning_seconds: float = TUNING_SECONDS
    training: TrainingConfig = field(default_factory=TrainingConfig)


@dataclass(frozen=True)
class Evaluation:
    """report: as written by --json. topk: user_id, rank, item_id, score of our slates; None when we were not asked."""

    report: dict[str, Json]
    topk: pl.DataFrame | None


def evaluate(shop: EventfulShop, encoder: Encoder, config: EvaluateConfig, progress: Progress) -> Evaluation:
    """Raises Invalid for an unknown model, BadData when nothing is left to judge."""
    check(config)
    data = kept_interactions(shop, config)
    whole, judged = judged_split(data, config)
    everyone = judged.joined(strangers(data, config.protocol, config.repeats, config.seed))
    new = new_items(data, config.protocol, config.repeats, config.seed)
    wanted = Wanted(
        judged, everyone, _scenarios(judged), new, judged.sampled(MAX_STRANGERS, config.seed), config.repeats
    )
    peers = _run_peers(wanted, config, progress)
    ours: OurLists | None = None
    text_NT = np.zeros((len(data.item_ids), 1), np.float32)
    if OURS in config.models:
        with_queries = config.training.query_text_weight > 0
        inputs = encode_inputs(shop, data, encoder, progress, READY_MADE, with_queries=with_queries)
        text_NT, ours = inputs.text_NT, _run_ours(data, inputs, encoder, wanted, config, progress)
    progress("report", 0.0)
    report = report_of(Material(wanted, peers, ours, text_NT, config.models), progress)
    report["split"] = _split_figures(whole, wanted, config)
    return Evaluation(report, None if ours is None else dump(ours.everyone, ours.scores, judged))


def check(config: EvaluateConfig) -> None:
    """Raises Invalid, BadSettings without opacus where it is needed. To be asked before any data is read."""
    for name in config.models:
        if name not in MODELS:
            raise Invalid(f"unknown model {name!r}; known: {', '.join(MODELS)}", code="unknown_model")
    if config.training.dp_epsilon:
        require_opacus()


def judged_split(data: Interactions, config: EvaluateConfig) -> tuple[Split, Split]:
    """The whole split, and it with those users alone who are judged. Raises BadData when nothing is left to judge."""
    whole = split(data, config.protocol, config.repeats)
    if not len(whole.users):
        raise BadData("no user has both a past and a future under this split; look at --events and --min-value")
    return whole, whole if config.max_users is None else whole.sampled(config.max_users, config.seed)


def kept_interactions(shop: EventfulShop, config: EvaluateConfig) -> Interactions:
    """Those of the types and values asked for. Raises BadData when the data hold no such type or no such value."""
    types: set[str] = set()
    values: list[float] = []

    def keep(piece: pl.DataFrame) -> pl.DataFrame:
        types.update(piece["type"].unique().to_list())
        if config.events:
            piece = piece.filter(pl.col("type").is_in(config.events))
        if config.min_value is not None:
            values.extend(piece.select(pl.col("value").max()).drop_nulls().to_series().to_list())
            piece = piece.filter(pl.col("value") >= config.min_value)
        return piece

    data = interactions(shop, keep=keep)
    for name in config.events:
        if name not in types:
            raise BadData(f"no event has the type {name!r}; there are: {', '.join(sorted(types)) or 'no events'}")
    if config.min_value is not None and types and max(values, default=float("-inf")) < config.min_value:
        largest = max(values, default=None)
        raise BadData(f"no event has a value of at least {config.min_value:g}; the largest is {largest}")
    return data


def _scenarios(judged: Split) -> dict[int, Split]:
    """Scenario row -> its users and targets, where there are enough to say something."""
    parts = {row: judged.in_scenario(row)[1] for row, name in enumerate(judged.train.scenarios) if name}
    return {row: part for row, part in parts.items() if len(part.users) >= MIN_SLICE_USERS}


def _run_peers(wanted: Wanted, config: EvaluateConfig, progress: Progress) -> Sequence[PeerLists]:
    names = [name for name in PEERS if name in config.models]
    budget = PeerBudget(config.repeats, config.seed, config.num_seeds, LIST_LENGTH, config.tuning_seconds)
    return list(run_peers(names, wanted.everyone, len(wanted.judged.users), config.protocol, budget, progress))


def _run_ours(
    data: Interactions, inputs: Inputs, encoder: Encoder, wanted: Wanted, config: EvaluateConfig, progress: Progress
) -> OurLists:
    return run_ours(data, inputs, fit_config(config, encoder), wanted, LIST_LENGTH, config.num_seeds, progress)


def fit_config(config: EvaluateConfig, encoder: Encoder) -> FitConfig:
    return FitConfig(
        protocol=config.protocol,
        repeats=config.repeats,
        training=replace(config.training, seed=config.seed, predict_repeats=config.repeats == "allow"),
        encoder_key=encoder.key,
        encoder_name=encoder.name,
    )


def _split_figures(whole: Split, wanted: Wanted, config: EvaluateConfig) -> dict[str, Json]:
    train = whole.train
    return {
        "protocol": config.protocol,
        "repeats": config.repeats,
        "events": list(config.events),
        "min_value": config.min_value,
        "seed": config.seed,
        "seeds": config.num_seeds,
        "train_events": len(train),
        "train_users": int((np.diff(train.starts_U1) > 0).sum()),
        "train_items": len(np.unique(train.item_E)),
        "judged_users": len(wanted.judged.users),
        "users_with_a_future": len(whole.users),
        "users_with_0_or_1_training_events": len(wanted.everyone.users) - len(wanted.judged.users),
        "targets": wanted.judged.num_targets,
        "dropped_targets": dict(whole.dropped),
        "validation": "tuned on the same cut inside the training part, then fitted on all of it: validation events are part "
        "of what is learned from and of every history",
    }
