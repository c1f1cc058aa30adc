"""Fitting of the calibration: isotonic regression of hits on the fused score.

Shapes: A slates asked for, K ranks, G groups.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from app.retrieval.calibration import Calibration
from app.types import BoolArray, Float32Array

CALIBRATED_RANKS = 10
MIN_PAIRS = 200  # fewer shown items give no curve
MAX_GROUPS = 100  # of equally many pairs: so that the highest score is not held for certain because of one hit


def fit_calibration(scores_AK: Float32Array, hit_AK: BoolArray, shown_AK: BoolArray) -> Calibration:
    """shown_AK: False where a slate is shorter. Source: Zadrozny & Elkan 2002."""
    scores, hit = scores_AK[shown_AK].astype(np.float64), hit_AK[shown_AK].astype(np.float64)
    if len(scores) < MIN_PAIRS:
        return Calibration()
    order = np.argsort(scores, kind="stable")
    groups = np.array_split(order, min(MAX_GROUPS, len(order) // (MIN_PAIRS // 4)))
    score_G, rate_G = (np.array([values[group].mean() for group in groups]) for values in (scores, hit))
    weight_G = np.array([len(group) for group in groups], np.float64)
    chance_G: NDArray[np.float64] = isotonic_regression(rate_G, weights=weight_G).x
    kept = np.r_[True, np.diff(score_G) > 0]  # equal scores may fill several groups
    if not kept.all():
        score_G, starts = score_G[kept], np.flatnonzero(kept)
        chance_G = np.add.reduceat(chance_G * weight_G, starts) / np.add.reduceat(weight_G, starts)
    return Calibration([float(score) for score in score_G], [float(chance) for chance in chance_G])
