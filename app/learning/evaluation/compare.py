"""Models beside each other on one split: every metric of every model with intervals, and paired differences.

Shapes: U judged users, K list length.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.learning.evaluation.metrics import FloatArray, beyond_accuracy, interval, per_user, summary
from app.learning.splits import Split
from app.types import Float32Array, Int64Array, Json

MAIN_METRIC = "ndcg@10"


@dataclass(frozen=True)
class Judged:
    """One model's lists on one split. metrics_U: metric -> value of each user."""

    topk_UK: Int64Array
    metrics_U: Mapping[str, FloatArray]
    beyond: Mapping[str, float]

    def as_json(self) -> dict[str, Json]:
        """metric -> {"mean", "low", "high"}; null where there is nothing to measure (JSON knows no NaN)."""
        result = {**summary(self.metrics_U), **{name: {"mean": value} for name, value in self.beyond.items()}}
        return {
            name: {key: value if math.isfinite(value) else None for key, value in values.items()}
            for name, values in result.items()
        }

    def subset(self, places: Sequence[int]) -> Judged:
        """The same model on some of the users; what is beyond accuracy belongs to the whole and is left out."""
        chosen = list(places)
        metrics = {name: values[chosen] for name, values in self.metrics_U.items()}
        return Judged(self.topk_UK[chosen], metrics, {})

    @property
    def main(self) -> float:
        values = self.metrics_U[MAIN_METRIC]
        return float(values.mean()) if len(values) else float("nan")


def judge(topk_UK: Int64Array, split: Split, text_NT: Float32Array) -> Judged:
    counts_N = np.bincount(split.train.item_E, minlength=len(split.train.item_ids))
    return Judged(topk_UK, per_user(topk_UK, split.targets), beyond_accuracy(topk_UK, counts_N, text_NT))


@dataclass(frozen=True, slots=True)
class Difference:
    """ours - theirs in NDCG@10 over the same users, with the 95 % paired bootstrap interval."""

    mean: float
    low: float
    high: float


def difference(ours: Judged, theirs: Judged) -> Difference:
    delta_U = ours.metrics_U[MAIN_METRIC] - theirs.metrics_U[MAIN_METRIC]
    return Difference(float(delta_U.mean()) if len(delta_U) else float("nan"), *interval(delta_U))
