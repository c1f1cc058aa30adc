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
    centre_M, means_RM = _resampled(np.stack(list(values.values()), axis=1).astype(np.float64), seed)
    return {name: _interval(centre_M[m], means_RM[:, m]) for m, name in enumerate(values)}


def macro_interval(values_US: FloatArray, seed: int = 0) -> Interval:
    """Of the unweighted mean over scenarios of each one's mean over users; NaN where a user is not in a scenario."""
    centre_S, means_RS = _resampled(values_US, seed)
    return _interval(centre_S.mean(), means_RS.mean(1))


def _interval(centre: float, means_R: FloatArray) -> Interval:
    known = means_R[np.isfinite(means_R)]
    low, high = np.quantile(known, [0.025, 0.975]) if len(known) else (math.nan, math.nan)
    return Interval(float(centre), float(low), float(high))


def _resampled(values_UM: FloatArray, seed: int) -> tuple[FloatArray, FloatArray]:
    """Means over the users [M], and over each resample of them [R, M]; NaN where nobody has a value."""
    U, M = values_UM.shape
    if not U:
        return np.full(M, np.nan), np.full((0, M), np.nan)
    valid_UM = np.isfinite(values_UM)
    both_U2M = np.concatenate([np.where(valid_UM, values_UM, 0.0), valid_UM], axis=1)
    rng = np.random.default_rng(seed)
    rows = max(1, CELLS_PER_BLOCK // U)
    sums = [_draws(rng, min(rows, RESAMPLES - start), U) @ both_U2M for start in range(0, RESAMPLES, rows)]
    return _ratio(both_U2M.sum(0, keepdims=True), M)[0], _ratio(np.concatenate(sums), M)


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
