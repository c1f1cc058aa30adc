"""Fits repeat: how likely and how soon each item is bought again, and what counts in the user's own past. Shapes: E events, N items."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from app.features.users import KINDS
from app.learning.dataset import Interactions
from app.learning.inputs import Inputs
from app.learning.sources.judge import Judge
from app.retrieval.sources.repeat import RepeatSource
from app.retrieval.sources.source import Fitted
from app.types import Float32Array, Int32Array, Json

CONSUMED = ("purchase", "use", "review")  # what can fall due again; where a log has none of these, every liking counts
SHRINKAGE = 10.0  # buyers, or intervals, by which an item's own figures are pulled to the shop's
GRID = {"half_life_days": (7.0, 30.0, 90.0, 365.0), "propensity": (0.0, 0.5, 1.0), "due": (0.0, 0.5)}
SECONDS_PER_DAY = 86_400.0
DEFAULTS: Mapping[str, Json] = {"half_life_days": 90.0, "propensity": 1.0, "due": 0.0}


def tune(data: Interactions, inputs: Inputs, judge: Judge) -> Fitted:
    """Only on cases in which past items may be shown again can anything be chosen."""
    start = fit(data, inputs, DEFAULTS)
    chooser = judge if judge.repeats == "allow" else judge.with_repeats
    return start if chooser is None else chooser.one_by_one(RepeatSource, start, GRID)


def fit(data: Interactions, inputs: Inputs, parameters: Mapping[str, Json]) -> Fitted:
    kinds = _kinds(data)
    again_N, interval_N = repurchase(data.where(np.isin(data.kind_E, kinds)))
    return Fitted(parameters, {"again": again_N, "interval": interval_N, "kinds": kinds})


def _kinds(data: Interactions) -> Int32Array:
    consumed = np.asarray([KINDS[name] for name in CONSUMED], np.int32)
    present = np.unique(data.kind_E[data.is_target_E]).astype(np.int32)
    return consumed if np.isin(consumed, present).any() else present


def repurchase(data: Interactions) -> tuple[Float32Array, Float32Array]:
    """Share of the buyers of each item who bought it again [N], and the mean (of logs) of the days between [N], both shrunk to
    the shop's. Events at one moment are one purchase."""
    N = len(data.item_ids)
    pair_E = data.user_E.astype(np.int64) * N + data.item_E
    order = np.argsort(pair_E, kind="stable")  # events of a user stand in time order
    pair, at = pair_E[order], data.at_E[order]
    follows = pair[1:] == pair[:-1]
    gap_days = (at[1:] - at[:-1]) / SECONDS_PER_DAY
    later = follows & (gap_days > 0)
    item_G, log_G = (pair[1:][later] % N), np.log(gap_days[later])
    buyers_N = np.bincount(np.unique(pair) % N, minlength=N)
    again_N = np.bincount(np.unique(pair[1:][later]) % N, minlength=N)
    rate = float(again_N.sum()) / max(1, int(buyers_N.sum()))
    share_N = (again_N + SHRINKAGE * rate) / (buyers_N + SHRINKAGE)
    typical = float(log_G.mean()) if len(log_G) else np.log(30.0)
    interval_N = np.exp(_shrunk(item_G, log_G, typical, N))
    return share_N.astype(np.float32), interval_N.astype(np.float32)


def _shrunk(item_G: NDArray[np.int64], value_G: NDArray[np.float64], prior: float, N: int) -> NDArray[np.float64]:
    count_N, sum_N = np.bincount(item_G, minlength=N), np.bincount(item_G, value_G, N)
    mean_N: NDArray[np.float64] = (sum_N + SHRINKAGE * prior) / (count_N + SHRINKAGE)
    return mean_N
