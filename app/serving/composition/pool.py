"""The ranked candidates as a pool for the rules. Shapes: C candidates."""

from __future__ import annotations

import numpy as np

from app.serving.draft import Pool
from app.serving.ranking import Ranking
from app.types import Float32Array


def make_pool(ranking: Ranking) -> Pool:
    """Best first. A score that is no finite number comes last, worth nothing, and never leaves the service."""
    scores_C = ranking.scores_C
    if np.isfinite(scores_C).all():
        order_C = np.argsort(-scores_C, kind="stable")
    else:
        finite_C = np.isfinite(scores_C)
        least = min(float(scores_C[finite_C].min(initial=0.0)), 0.0)
        order_C = np.lexsort((-np.where(finite_C, scores_C, 0.0), ~finite_C))
        scores_C = np.where(finite_C, scores_C, least).astype(np.float32)
    return Pool(ranking.candidates, ranking.candidates.rows_C.take(order_C), scores_C.take(order_C), order_C)


def scaled(scores_C: Float32Array, factor_C: Float32Array) -> Float32Array:
    """Scores times factors; for a score below 0 divided, so that a factor above 1 always raises. Finite."""
    scaled_C = np.where(scores_C >= 0, scores_C * factor_C, scores_C / np.maximum(factor_C, 1e-6))
    limit = np.finfo(np.float32).max
    return np.clip(scaled_C, -limit, limit).astype(np.float32)
