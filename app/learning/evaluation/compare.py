"""Models beside each other on one split: every metric of every model with intervals, and paired differences.

Shapes: U judged users, K list length.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.learning.evaluation.bootstrap import FloatArray, Interval, intervals
from app.learning.evaluation.metrics import coverage, diversity, novelty, per_user
from app.learning.splits import Split
from app.types import Float32Array, Int64Array, Json

MAIN_METRIC = "ndcg@10"
WINNING_SHARE = 0.8  # of the seeds that must lean the same way: 4 of 5


@dataclass(frozen=True)
class Judged:
    """One model's lists on one split. metrics_U: metric -> value of each user. coverage: of all the lists; NaN for a part."""

    topk_UK: Int64Array
    metrics_U: Mapping[str, FloatArray]
    coverage: float = math.nan

    def as_json(self) -> dict[str, Json]:
        """metric -> {"mean", "low", "high"}; null where there is nothing to measure."""
        figures: dict[str, Json] = {name: of.as_json() for name, of in intervals(self.metrics_U).items()}
        if math.isfinite(self.coverage):
            figures["coverage@10"] = {"mean": self.coverage, "low": None, "high": None}
        return figures

    def subset(self, places: Sequence[int]) -> Judged:
        """The same model on some of the users."""
        chosen = list(places)
        metrics = {name: values[chosen] for name, values in self.metrics_U.items()}
        return Judged(self.topk_UK[chosen], metrics)

    @property
    def main(self) -> float:
        return self.mean(MAIN_METRIC)

    def mean(self, metric: str) -> float:
        values = self.metrics_U[metric]
        return float(values.mean()) if len(values) else math.nan


def judge(topk_UK: Int64Array, split: Split, text_NT: Float32Array) -> Judged:
    counts_N = np.bincount(split.train.item_E, minlength=len(split.train.item_ids)).astype(np.int64)
    metrics_U = per_user(topk_UK, split.targets)
    metrics_U["novelty@10"], metrics_U["diversity@10"] = novelty(topk_UK, counts_N), diversity(topk_UK, text_NT)
    return Judged(topk_UK, metrics_U, coverage(topk_UK, counts_N))


def differences(ours: Judged, theirs: Judged) -> dict[str, Interval]:
    """metric -> ours - theirs over the same users, with the 95 % paired bootstrap interval."""
    return intervals({name: values_U - theirs.metrics_U[name] for name, values_U in ours.metrics_U.items()})


def difference(ours: Judged, theirs: Judged) -> Interval:
    """In the main metric."""
    return intervals({MAIN_METRIC: ours.metrics_U[MAIN_METRIC] - theirs.metrics_U[MAIN_METRIC]})[MAIN_METRIC]


@dataclass(frozen=True, slots=True)
class SignTest:
    """ours - theirs in the main metric for each seed. mean: of the per-user differences averaged over the seeds."""

    by_seed: Sequence[float]
    mean: Interval

    @property
    def same_sign(self) -> int:
        """Seeds that lean the way the mean leans."""
        return sum(delta * self.mean.mean > 0 for delta in self.by_seed)

    @property
    def verdict(self) -> str:
        """ "win" or "loss": the interval excludes 0 and at least 4 of 5 seeds lean that way; else "tie"."""
        if not self.mean.excludes_zero or self.same_sign < WINNING_SHARE * len(self.by_seed):
            return "tie"
        return "win" if self.mean.mean > 0 else "loss"

    def as_json(self) -> dict[str, Json]:
        return {
            "by_seed": list(self.by_seed),
            "same_sign": self.same_sign,
            "seeds": len(self.by_seed),
            "mean": self.mean.as_json(),
            "verdict": self.verdict,
        }


def sign_test(ours: Sequence[Judged], theirs: Sequence[Judged]) -> SignTest:
    """One Judged for each seed; a model that knows no seed is given once and stands against every seed of the other."""
    num = max(len(ours), len(theirs))
    pairs = [(ours[seed % len(ours)], theirs[seed % len(theirs)]) for seed in range(num)]
    deltas = np.stack([a.metrics_U[MAIN_METRIC] - b.metrics_U[MAIN_METRIC] for a, b in pairs])
    mean = intervals({MAIN_METRIC: deltas.mean(0)})[MAIN_METRIC]
    return SignTest([float(delta_U.mean()) for delta_U in deltas], mean)
