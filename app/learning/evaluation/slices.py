"""Parts of the judged users and targets: how much is known of the user, how much of the item, and which scenario."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from app.learning.dataset import Interactions
from app.learning.evaluation.compare import MAIN_METRIC, Judged, judge
from app.learning.splits import Protocol, Repeats, Split, Who, split
from app.types import Float32Array, Int64Array, Json

USER_SLICES = {"0": (0, 0), "1-4": (1, 4), "5-19": (5, 19), "20+": (20, 2**62)}  # by training events
ITEM_SLICES = {"1-9": (1, 9), "10+": (10, 2**62)}
MIN_SLICE_USERS = 10
MAX_STRANGERS = 5_000  # a log of guests holds any number of them


def strangers(data: Interactions, protocol: Protocol, repeats: Repeats, seed: int) -> Split:
    """Users with 0 or 1 training events: too few for the main figures. `loo` has none, it asks for two."""
    return split(data, protocol, repeats, Who(0, 1)).sampled(MAX_STRANGERS, seed)


def new_items(data: Interactions, protocol: Protocol, repeats: Repeats, seed: int) -> Split:
    """The users of the main figures with the targets that those must leave out: items that training never saw."""
    return split(data, protocol, repeats, Who(new_items=True)).sampled(MAX_STRANGERS, seed)


def by_history(topk_UK: Int64Array, everyone: Split, text_NT: Float32Array) -> dict[str, Json]:
    """everyone: the judged users and the strangers."""
    model = judge(topk_UK, everyone, text_NT)
    result: dict[str, Json] = {}
    for name, (low, high) in USER_SLICES.items():
        places = np.flatnonzero((everyone.past_counts_U >= low) & (everyone.past_counts_U <= high)).tolist()
        if len(places) >= MIN_SLICE_USERS:
            result[name] = {"num_users": len(places), **model.subset(places).as_json()}
    return result


def by_item_counts(topk_UK: Int64Array, judged: Split, text_NT: Float32Array) -> dict[str, Json]:
    """The same lists against targets of thin and of well-known items."""
    counts_N = np.bincount(judged.train.item_E, minlength=len(judged.train.item_ids))
    result: dict[str, Json] = {}
    for name, (low, high) in ITEM_SLICES.items():
        places, part = judged.with_items((counts_N >= low) & (counts_N <= high))
        if len(places) >= MIN_SLICE_USERS:
            model = judge(topk_UK[places], part, text_NT)
            result[name] = {"num_users": len(places), "targets": part.num_targets, **model.as_json()}
    return result


def scenario_summary(by_scenario: Mapping[str, Judged]) -> dict[str, Json]:
    """Macro mean of every metric over the scenarios, and the worst scenario by the main metric."""
    if not by_scenario:
        return {}
    metrics = next(iter(by_scenario.values())).metrics_U
    macro: dict[str, Json] = {
        name: _finite(np.mean([model.mean(name) for model in by_scenario.values()])) for name in metrics
    }
    worst = min(by_scenario, key=lambda scenario: by_scenario[scenario].main)
    return {"num": len(by_scenario), "macro": macro, "worst": {"scenario": worst, MAIN_METRIC: by_scenario[worst].main}}


def _finite(value: np.floating) -> float | None:
    return float(value) if np.isfinite(value) else None
