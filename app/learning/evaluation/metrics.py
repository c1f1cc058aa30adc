"""Ranking metrics over the whole catalogue, per user, and their bootstrap intervals.

Shapes: U judged users, K list length (rows of -1 where the list is shorter).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from app.types import Float32Array, Int64Array

BOOTSTRAP_SAMPLES = 1_000
FloatArray = NDArray[np.float64]


def hits(topk_UK: Int64Array, targets: Sequence[Int64Array]) -> NDArray[np.bool_]:
    """[U, K]: is the item at this rank a target?"""
    return (
        np.stack([np.isin(row, wanted) for row, wanted in zip(topk_UK, targets, strict=True)])
        if len(topk_UK)
        else np.zeros(topk_UK.shape, np.bool_)
    )


def per_user(topk_UK: Int64Array, targets: Sequence[Int64Array]) -> dict[str, FloatArray]:
    """Accuracy metrics [U] at 10 (recall also at 50 when the lists are that long).

    ndcg@10: binary gains, log2 discount, ideal = min(10, targets). recall@k divides by the targets, precision@10 by 10;
    map@10 divides by min(10, targets); mrr@10 looks at the first hit.
    """
    hit_UK = hits(topk_UK, targets).astype(np.float64)
    top_U10 = hit_UK[:, :10]
    num_U = np.asarray([len(wanted) for wanted in targets], np.float64)
    ranks = np.arange(1, top_U10.shape[1] + 1)
    ideal = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(np.arange(2, 12)))])
    found_U = top_U10.sum(1)
    precision_U, recall_U = found_U / 10, found_U / num_U
    first_U = np.where(found_U > 0, top_U10.argmax(1) + 1, np.inf)
    both = precision_U + recall_U
    metrics = {
        "ndcg@10": (top_U10 / np.log2(ranks + 1)).sum(1) / ideal[np.minimum(num_U, 10).astype(int)],
        "recall@10": recall_U,
        "precision@10": precision_U,
        "f1@10": np.divide(2 * precision_U * recall_U, both, out=np.zeros_like(both), where=both > 0),
        "hr@10": (found_U > 0).astype(np.float64),
        "mrr@10": 1.0 / first_U,
        "map@10": (top_U10 * top_U10.cumsum(1) / ranks).sum(1) / np.minimum(num_U, 10),
    }
    if topk_UK.shape[1] >= 50:
        metrics["recall@50"] = hit_UK[:, :50].sum(1) / num_U
    return metrics


def beyond_accuracy(topk_UK: Int64Array, counts_N: Int64Array, vectors_ND: Float32Array) -> dict[str, float]:
    """coverage@10: share of the trained items that appear in anyone's ten. novelty@10: mean -log2 of an item's share of the
    training events. diversity@10: mean 1 - cosine between the text vectors of two items of a list (NaN without texts)."""
    top_U10 = topk_UK[:, :10]
    shown = top_U10[top_U10 >= 0]
    share_N = np.maximum(counts_N, 1) / max(1, counts_N.sum())
    has_text_N = np.abs(vectors_ND).sum(1) > 0
    diversity = []
    for row in top_U10:
        vectors = vectors_ND[row[(row >= 0) & has_text_N[row]]]
        if len(vectors) > 1:
            cosine = vectors @ vectors.T
            pairs = len(vectors) * (len(vectors) - 1)
            diversity.append(1.0 - (cosine.sum() - np.trace(cosine)) / pairs)
    return {
        "coverage@10": len(np.unique(shown)) / max(1, int((counts_N > 0).sum())),
        "novelty@10": float(-np.log2(share_N[shown]).mean()) if len(shown) else float("nan"),
        "diversity@10": float(np.mean(diversity)) if diversity else float("nan"),
    }


def interval(values_U: FloatArray, seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean over users."""
    if not len(values_U):
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    means = [values_U[rng.integers(0, len(values_U), len(values_U))].mean() for _ in range(BOOTSTRAP_SAMPLES)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def summary(metrics: Mapping[str, FloatArray]) -> dict[str, dict[str, float]]:
    """metric -> {"mean", "low", "high"}."""
    return {
        name: {"mean": float(v.mean()) if len(v) else float("nan")}
        | dict(zip(("low", "high"), interval(v), strict=True))
        for name, v in metrics.items()
    }
