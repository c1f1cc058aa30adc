"""What ranking costs: 400 candidates with all features for warm users of a shop of 10,000 items, in CPU milliseconds of one core.

The shop is the sample shop's, larger; its texts are random vectors and its towers and ranker are untrained, because what they say
changes no cost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import cast

import numpy as np
import polars as pl
import torch

from app.catalogue.sample_shop import generate_sample_shop
from app.encoding.encoder import Encoder
from app.features.ranking import FEATURES
from app.feedback.state import MAX_HISTORY, HistoryEntry, UserState
from app.learning.assembly import assemble
from app.learning.dataset import interactions
from app.learning.fit_config import Choices, FitConfig
from app.learning.inputs import encode_inputs
from app.learning.ranker_fit import RankerFit
from app.learning.sources import DEFAULTS, fit_sources
from app.learning.training import tower_config
from app.model.ranker import RankerConfig, RankerNet
from app.model.runner import TowerRunner
from app.model.towers import Towers
from app.retrieval.candidates import Candidates
from app.retrieval.ranker import Unordered
from app.retrieval.snapshot import Snapshot
from app.scenarios.defaults import READY_MADE
from app.serving.live import LiveSnapshot, ServingState
from app.serving.ranking import rank
from app.serving.retrieve import retrieve, weights_of
from app.serving.rules import Asked
from app.serving.slate import SlateRequest
from app.types import Float32Array, Json, Progress

NUM_ITEMS, NUM_USERS, NUM_RANKED = 10_000, 600, 400
WARM_EVENTS = 20  # least history of a user that is asked for
NUM_SEEN = 100  # items a shopper was shown of late
TEXT_DIM = 384
SCENARIO = "home"
BOUND_MS = 1.0


class RandomTexts:
    """An encoder of random unit vectors, equal for equal texts."""

    key, name, dim = "random", "random", TEXT_DIM

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Float32Array:
        out = np.zeros((len(texts), TEXT_DIM), np.float32)
        for row, words in enumerate(texts):
            if words:
                vector = np.random.default_rng(abs(hash(words))).normal(size=TEXT_DIM)
                out[row] = vector / np.linalg.norm(vector)
        return out


@dataclass(frozen=True)
class Case:
    asked: Asked
    found: Candidates


def bench_rank(runs: int, progress: Progress) -> dict[str, Json]:
    """Medians and 95th percentiles over at least `runs` rankings; threads are limited to one by the caller."""
    live, cases = prepare(progress)
    parts: dict[str, Callable[[Case], object]] = {
        "ranking, all of it": lambda case: rank([case.asked], live, [case.found]),
        "of it features": lambda case: _features(live, case),
        "of it heads and objective": _heads(live, cases),
        "fusion order instead": lambda case: rank([case.asked], live, [_without_shopper(case.found)]),
    }
    figures: dict[str, Json] = {}
    for done, (name, work) in enumerate(parts.items(), start=1):
        milliseconds = timed(work, cases, runs)
        p50, p95 = (round(float(value), 4) for value in np.percentile(milliseconds, (50, 95)))
        figures[name] = {"p50_ms": p50, "p95_ms": p95, "runs": len(milliseconds)}
        progress("measure", done / len(parts))
    whole = cast(dict[str, float], figures["ranking, all of it"])["p50_ms"]
    return {
        "items": NUM_ITEMS, "candidates": NUM_RANKED, "features": len(FEATURES), "users": len(cases),
        "bound_ms": BOUND_MS, "holds": whole <= BOUND_MS, "cpu_ms": figures,
    }  # fmt: skip


def prepare(progress: Progress) -> tuple[LiveSnapshot, list[Case]]:
    shop = generate_sample_shop(7, num_items=NUM_ITEMS, num_users=NUM_USERS, progress=progress).data
    data = interactions(shop)
    encoder = cast(Encoder, RandomTexts())
    inputs = encode_inputs(shop, data, encoder, progress, READY_MADE)
    torch.manual_seed(1)
    progress("sources", 0.0)
    towers, fitted = TowerRunner(Towers(tower_config(data, inputs))), fit_sources(data, inputs, DEFAULTS)
    config = FitConfig(encoder_key=encoder.key, encoder_name=encoder.name)
    snapshot = assemble(data, inputs, config, Choices(0, ranker=untrained()), towers, fitted, {})
    live = ServingState.with_model(encoder, snapshot, [*READY_MADE.values()], {}).current
    asked = list(islice(requests(shop.events, snapshot), 100))
    cases = [Case(one, find(one, live)) for one in asked]
    return live, [case for case in cases if len(case.found.rows_C) == NUM_RANKED]


def untrained() -> RankerFit:
    """A ranker of the size that is served, chosen everywhere."""
    net = RankerNet(
        RankerConfig(len(FEATURES), TEXT_DIM), np.zeros(len(FEATURES), np.float32), np.ones(len(FEATURES), np.float32)
    )
    return RankerFit({"features": list(FEATURES), "choices": {"": {"order": "ranker"}}}, net.arrays())


def requests(events: pl.DataFrame, snapshot: Snapshot) -> Iterator[Asked]:
    """Of shoppers with a long past, longest first, all of whom were shown NUM_SEEN items lately."""
    acted = events.filter(pl.col("type") != "impression", pl.col("user_id").is_not_null())
    now = cast(datetime, acted["occurred_at"].max())
    rng = np.random.default_rng(3)
    long = acted.group_by("user_id").agg(pl.len().alias("n")).filter(pl.col("n") >= WARM_EVENTS).sort("n", "user_id")
    for user_id in reversed(long["user_id"].to_list()):
        rows = acted.filter(pl.col("user_id") == user_id).sort("occurred_at").tail(MAX_HISTORY)
        history = tuple(
            HistoryEntry(item_id, kind, at.timestamp(), str(n))
            for n, (item_id, kind, at) in enumerate(rows.select("item_id", "type", "occurred_at").iter_rows())
        )
        seen = {snapshot.item_ids[row]: 1.0 for row in rng.choice(len(snapshot.item_ids), NUM_SEEN, replace=False)}
        request = SlateRequest(SCENARIO, user_id=user_id, context={"device": "mobile", "country": "nz"})
        yield Asked(request, READY_MADE[SCENARIO], None, None, UserState(history, seen=seen), None, True, now, 20)


def find(asked: Asked, live: LiveSnapshot) -> Candidates:
    assert live.model
    allowed_R = np.ones(len(live.catalogue), np.bool_)
    weights = weights_of(asked, live, live.model, asked.scenario)
    return retrieve(asked, live, allowed_R, asked.scenario, weights, NUM_RANKED)


def timed(work: Callable[[Case], object], cases: Sequence[Case], runs: int) -> list[float]:
    """CPU milliseconds of each call, after a round that is not counted."""
    for case in cases[:20]:
        work(case)
    taken = []
    for run in range(max(runs, 200)):
        case = cases[run % len(cases)]
        begin = time.process_time()
        work(case)
        taken.append((time.process_time() - begin) * 1e3)
    return taken


def _features(live: LiveSnapshot, case: Case) -> Float32Array:
    assert live.model
    return live.model.snapshot.features([Unordered(case.found, SCENARIO)], live.model.space, live.model.table)


def _heads(live: LiveSnapshot, cases: Sequence[Case]) -> Callable[[Case], object]:
    assert live.model
    model, features_FC = live.model, _features(live, cases[0])
    price_C = model.space.facts.price_R[cases[0].found.rows_C]  # type: ignore[union-attr]
    scenario_G = model.table.text_ST[model.table.row(SCENARIO)]
    return lambda _case: model.snapshot.ranker.scores(features_FC, SCENARIO, scenario_G, None, price_C)


def _without_shopper(found: Candidates) -> Candidates:
    return Candidates(found.rows_C, found.scores_C, found.ranks, found.scores, found.parts)
