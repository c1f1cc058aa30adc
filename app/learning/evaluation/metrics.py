"""Ranking metrics over the whole catalogue, per user.

Shapes: U judged users, K list length (rows of -1 where the list is shorter), N items, D dim.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.learning.evaluation.bootstrap import FloatArray
from app.types import Float32Array, Int64Array

LISTS_PER_BLOCK = 1_024
IDEAL = np.concatenate(
    [[0.0], np.cumsum(1.0 / np.log2(np.arange(2, 12)))]
)  # DCG of the best list, by number of targets


def hits(topk_UK: Int64Array, targets: Sequence[Int64Array]) -> NDArray[np.bool_]:
    """[U, K]: is the item at this rank a target? One search over (user, item) pairs as single numbers."""
    if not topk_UK.size or not targets:
        return np.zeros(topk_UK.shape, np.bool_)
    wanted = np.concatenate(targets)
    owner = np.repeat(np.arange(len(targets)), [len(of_user) for of_user in targets])
    width = max(int(topk_UK.max()), int(wanted.max(initial=0))) + 1
    shown = np.arange(len(topk_UK))[:, None] * width + topk_UK
    return np.isin(shown, owner * width + wanted) & (topk_UK >= 0)


def per_user(topk_UK: Int64Array, targets: Sequence[Int64Array]) -> dict[str, FloatArray]:
    """Accuracy metrics [U] at 10 (recall also at 20 and 50 when the lists are that long).

    ndcg@10: binary gains, log2 discount, ideal = min(10, targets). recall@k divides by the targets, precision@10 by 10;
    map@10 divides by min(10, targets); mrr@10 looks at the first hit.
    """
    hit_UK = hits(topk_UK, targets).astype(np.float64)
    top_U10 = hit_UK[:, :10]
    num_U = np.asarray([len(wanted) for wanted in targets], np.float64)
    ranks = np.arange(1, top_U10.shape[1] + 1)
    found_U = top_U10.sum(1)
    precision_U, recall_U = found_U / 10, found_U / num_U
    first_U = np.where(found_U > 0, top_U10.argmax(1) + 1, np.inf)
    both = precision_U + recall_U
    metrics = {
        "ndcg@10": (top_U10 / np.log2(ranks + 1)).sum(1) / IDEAL[np.minimum(num_U, 10).astype(int)],
        "recall@10": recall_U,
        "precision@10": precision_U,
        "f1@10": np.divide(2 * precision_U * recall_U, both, out=np.zeros_like(both), where=both > 0),
        "hr@10": (found_U > 0).astype(np.float64),
        "mrr@10": 1.0 / first_U,
        "map@10": (top_U10 * top_U10.cumsum(1) / ranks).sum(1) / np.minimum(num_U, 10),
    }
    for k in (20, 50):
        if topk_UK.shape[1] >= k:
            metrics[f"recall@{k}"] = hit_UK[:, :k].sum(1) / num_U
    return metrics


def coverage(topk_UK: Int64Array, counts_N: Int64Array) -> float:
    """Share of the trained items that appear in anyone's ten. It belongs to all the lists together: it has no interval."""
    top_U10 = topk_UK[:, :10]
    return len(np.unique(top_U10[top_U10 >= 0])) / max(1, int((counts_N > 0).sum()))


def novelty(topk_UK: Int64Array, counts_N: Int64Array) -> FloatArray:
    """[U]: mean over a user's ten of -log2 of the item's share of the training events; NaN for an empty list."""
    top_U10 = topk_UK[:, :10]
    bits_N = -np.log2(np.maximum(counts_N, 1) / max(1, counts_N.sum()))
    shown = top_U10 >= 0
    num_U = shown.sum(1)
    total_U = np.where(shown, bits_N[np.maximum(top_U10, 0)], 0.0).sum(1)
    result = np.full(len(top_U10), np.nan)
    np.divide(total_U, num_U, out=result, where=num_U > 0)
    return result


def diversity(topk_UK: Int64Array, vectors_ND: Float32Array) -> FloatArray:
    """[U]: mean 1 - cosine between the text vectors of two items of a user's ten; NaN with fewer than two texts.

    Vectors are unit rows, zero without a text. The sum of all cosines is the squared length of the summed vectors.
    """
    has_text_N = np.abs(vectors_ND).sum(1) > 0
    result = np.full(len(topk_UK), np.nan)
    for start in range(0, len(topk_UK), LISTS_PER_BLOCK):
        block = topk_UK[start : start + LISTS_PER_BLOCK, :10]
        shown = (block >= 0) & has_text_N[np.maximum(block, 0)]
        vectors = np.where(shown[..., None], vectors_ND[np.maximum(block, 0)], 0.0)
        n = shown.sum(1).astype(np.float64)
        cosines = (vectors.sum(1) ** 2).sum(1) - (vectors**2).sum((1, 2))
        np.divide(n * (n - 1) - cosines, n * (n - 1), out=result[start : start + len(block)], where=n > 1)
    return result
