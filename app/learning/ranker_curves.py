"""Curves from a net's log chances to chances. Shapes: X pairs of case and candidate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from app.types import BoolArray, Float32Array


def logit(log_X: Float32Array) -> NDArray[np.float64]:
    log_X64 = np.minimum(log_X.astype(np.float64), -1e-7)
    logit_X: NDArray[np.float64] = log_X64 - np.log(-np.expm1(log_X64))
    return logit_X


def platt(logit_X: NDArray[np.float64], label_X: BoolArray) -> tuple[float, float]:
    """Slope (never negative: a curve must not turn the order) and offset of the logistic regression. Platt 1999."""

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        z_X = np.clip(parameters[0] * logit_X + parameters[1], -60.0, 60.0)
        away_X = 1.0 / (1.0 + np.exp(-z_X)) - label_X
        cost = float((np.logaddexp(0.0, z_X) - z_X * label_X).mean())
        return cost, np.asarray([float((away_X * logit_X).mean()), float(away_X.mean())])

    found = optimize.minimize(
        loss, np.asarray([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0.05, 20.0), (-20.0, 20.0)]
    )
    return round(float(found.x[0]), 5), round(float(found.x[1]), 5)


def offset_for(curve: tuple[float, float], logit_X: NDArray[np.float64], label_X: BoolArray) -> float:
    if not 0 < label_X.sum() < len(label_X):
        return curve[1]

    def surplus(offset: float) -> float:
        return float((1.0 / (1.0 + np.exp(-np.clip(curve[0] * logit_X + offset, -60.0, 60.0)))).mean() - label_X.mean())

    return round(float(optimize.brentq(surplus, -60.0, 60.0, xtol=1e-4)), 5)


def log_loss(value_X: NDArray[np.float64], label_X: BoolArray) -> float:
    slope, offset = platt(value_X, label_X)
    z_X = np.clip(slope * value_X + offset, -60.0, 60.0)
    return float((np.logaddexp(0.0, z_X) - z_X * label_X).mean())
