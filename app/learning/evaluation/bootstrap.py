"""Bootstrap intervals over users, of many metrics at once. Shapes: U users, M metrics, R resamples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.types import Json

RESAMPLES = 1_000
CELLS_PER_BLOCK = 4_000_000  # bounds memory to some 32 MB whatever the number of users
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over users and its 95 % percentile bootstrap interval; NaN where nobody has a value."""

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0

    def as_json(self) -> dict[str, Json]:
        """null where there is nothing to measure (JSON knows no NaN)."""
        values = {"mean": self.mean, "low": self.low, "high": self.high}
        return {name: value if math.isfinite(value) else None for name, value in values.items()}


def intervals(values: Mapping[str, FloatArray], seed: int = 0) -> dict[str, Interval]:
    """metric -> interval of its mean over users. Users whose value is NaN do not count.

    All metrics see the same resamples, so intervals of differences of two models over the same users are paired.
    """
    if not values:
        return {}
    values_UM = np.stack(list(values.values()), axis=1).astype(np.float64)
    U, M = values_UM.shape
    if not U:
        return {name: Interval(math.nan, math.nan, math.nan) for name in values}
    valid_UM = np.isfinite(values_UM)
    both_U2M = np.concatenate([np.where(valid_UM, values_UM, 0.0), valid_UM], axis=1)
    rng = np.random.default_rng(seed)
    rows = max(1, CELLS_PER_BLOCK // U)
    sums = [_draws(rng, min(rows, RESAMPLES - start), U) @ both_U2M for start in range(0, RESAMPLES, rows)]
    means_RM = _ratio(np.concatenate(sums), M)
    centre_M = _ratio(both_U2M.sum(0, keepdims=True), M)[0]
    result = {}
    for m, name in enumerate(values):
        known = means_RM[np.isfinite(means_RM[:, m]), m]
        low, high = np.quantile(known, [0.025, 0.975]) if len(known) else (math.nan, math.nan)
        result[name] = Interval(float(centre_M[m]), float(low), float(high))
    return result


def interval(values_U: FloatArray) -> tuple[float, float]:
    """95 % percentile bootstrap interval of one mean: (low, high)."""
    found = intervals({"": values_U})[""]
    return found.low, found.high


def _draws(rng: np.random.Generator, num: int, U: int) -> FloatArray:
    """How often each user is drawn into each resample, [num, U]."""
    drawn = rng.integers(0, U, (num, U)) + U * np.arange(num)[:, None]
    return np.bincount(drawn.ravel(), minlength=num * U).reshape(num, U).astype(np.float64)


def _ratio(sums_R2M: FloatArray, M: int) -> FloatArray:
    counts_RM = sums_R2M[:, M:]
    return np.divide(sums_R2M[:, :M], counts_RM, out=np.full_like(counts_RM, np.nan), where=counts_RM > 0)
