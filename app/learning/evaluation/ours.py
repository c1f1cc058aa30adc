"""Ours on a split: fitted as the retraining run fits, once for each seed, and asked by the code that serves.

Shapes: U users, K list length, S scenarios.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from app.learning.dataset import Interactions
from app.learning.evaluation.metrics import per_user
from app.learning.evaluation.rank import WHOLE_SHOP, Ranker, asks_of
from app.learning.fit import fit
from app.learning.fit_config import FitConfig
from app.learning.inputs import Inputs
from app.learning.next_events import without_history
from app.learning.splits import Repeats, Split
from app.retrieval.calibration import Calibration
from app.types import Float32Array, Int64Array, Json, Progress

DUMPED = 20


@dataclass(frozen=True)
class OurLists:
    """everyone: slates of the judged users, then of the strangers. by_seed: the judged users' slates of each further seed.

    by_scenario: scenario row -> slates of the users with targets in it, asked for in it, and their scores. without_history:
    slates of `Wanted.unknown`, of whom only the profile is told. new_alone, new_in_all: slates of the users who wanted new
    items, among those and among all.
    """

    everyone: Int64Array
    scores: Float32Array
    by_seed: Sequence[Int64Array]
    by_scenario: Mapping[int, tuple[Int64Array, Float32Array]]
    without_history: Int64Array
    new_alone: Int64Array
    new_in_all: Int64Array
    calibration: Calibration
    seconds: float
    details: Mapping[str, Json]


@dataclass(frozen=True)
class Wanted:
    """What is asked of a fitted model. scenarios: row -> the part of the judged users with targets in it. unknown: judged users to
    be asked for as if nothing were known of what they did. repeats: of the protocol."""

    judged: Split
    everyone: Split
    scenarios: Mapping[int, Split]
    new: Split
    unknown: Split
    repeats: Repeats


def run_ours(
    data: Interactions, inputs: Inputs, config: FitConfig, wanted: Wanted, num: int, num_seeds: int, progress: Progress
) -> OurLists:
    """config.training.seed is the first of the seeds; only its model is asked for more than the judged users' slates."""
    started = time.monotonic()
    ranker, details = _fit(data, inputs, config, wanted.judged, progress)
    seconds, repeats = time.monotonic() - started, config.repeats
    everyone, scores = ranker.slates(wanted.everyone, num, repeats, anywhere=True)
    details["ranker"] = ranker_figures(ranker, wanted.judged, everyone[: len(wanted.judged.users)], repeats)
    known_N = np.bincount(wanted.judged.train.item_E, minlength=len(data.item_ids)) > 0
    lists = OurLists(
        everyone=everyone,
        scores=scores,
        by_seed=[],
        by_scenario={row: ranker.slates(part, num, repeats, scenario=row) for row, part in wanted.scenarios.items()},
        without_history=_without_history(ranker, wanted.unknown, num, repeats),
        new_alone=ranker.slates(wanted.new, num, repeats, candidates_N=~known_N, anywhere=True)[0],
        new_in_all=ranker.slates(wanted.new, num, repeats, candidates_N=np.ones_like(known_N), anywhere=True)[0],
        calibration=ranker.snapshot.calibration,
        seconds=seconds,
        details=details,
    )
    by_seed = []
    for number in range(1, num_seeds):
        again = replace(config, training=replace(config.training, seed=config.training.seed + number))
        other, _ = _fit(data, inputs, again, wanted.judged, progress)
        by_seed.append(other.rank(wanted.judged, num, repeats, anywhere=True))
        progress("seeds", number / num_seeds, f"seed {again.training.seed} fitted")
    return replace(lists, by_seed=by_seed)


def ranker_figures(ranker: Ranker, judged: Split, with_it: Int64Array, repeats: Repeats) -> dict[str, Json]:
    """What orders where and why, and NDCG@10 of the judged users with the ranker and without it. with_it: their slates."""
    snapshot = ranker.snapshot
    without = Ranker(snapshot, ranker.data, ranker.inputs, use_ranker=False)
    lists = {"on": with_it, "off": without.rank(judged, 10, repeats, anywhere=True)}
    figures: dict[str, Json] = {
        name: round(float(per_user(topk_UK[:, :10], judged.targets)["ndcg@10"].mean()), 5)
        for name, topk_UK in lists.items()
    }
    return {
        "ndcg@10": figures,
        **{name: snapshot.manifest.ranker.get(name) for name in ("choices", "calibration_error")},
    }


def _without_history(ranker: Ranker, split: Split, num: int, repeats: Repeats) -> Int64Array:
    asks = without_history(asks_of(split, WHOLE_SHOP))
    return ranker.fused(split.train, asks, num, repeats, ranker.allowed(split), anywhere=True)[0]


def dump(topk_UK: Int64Array, scores_UK: Float32Array, judged: Split) -> pl.DataFrame:
    """user_id, rank (1-based), item_id, score: DUMPED rows of each judged user, for anybody to recompute the metrics."""
    train, U = judged.train, len(judged.users)
    u, k = np.nonzero(topk_UK[:U, :DUMPED] >= 0)
    return pl.DataFrame(
        {
            "user_id": np.asarray(train.user_ids, object)[judged.users[u]].tolist(),
            "rank": (k + 1).tolist(),
            "item_id": np.asarray(train.item_ids, object)[topk_UK[u, k]].tolist(),
            "score": scores_UK[u, k].tolist(),
        },
        schema={"user_id": pl.String, "rank": pl.Int32, "item_id": pl.String, "score": pl.Float32},
    )


def _fit(
    data: Interactions, inputs: Inputs, config: FitConfig, judged: Split, progress: Progress
) -> tuple[Ranker, dict[str, Json]]:
    snapshot = fit(judged.train, inputs, config, progress)
    manifest = snapshot.manifest
    details: dict[str, Json] = {
        "encoder": manifest.encoder,
        "fusion": dict(manifest.fusion),
        "transfer": dict(manifest.transfer),
        "sources": {name: dict(parameters) for name, parameters in manifest.sources.items()},
        "training": dict(manifest.training),
        "privacy": dict(manifest.privacy),
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    return Ranker(snapshot, data, inputs), details
