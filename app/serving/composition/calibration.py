"""A slate in the proportions of the shopper's own interests: who bought seven books and three lamps sees about as many of each.

Source: Steck, Calibrated Recommendations, RecSys 2018, equations 3-6: greedy on (1 - λ) · relevance - λ · KL(p, q).
Shapes: C candidates, G categories of the shopper's past (the outermost level).
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from app.feedback.event import EVENT_WEIGHTS
from app.serving.draft import Draft
from app.serving.rules import SECONDS_PER_DAY
from app.types import Float32Array, Int64Array

SMOOTHING = 0.01  # α of equation 4: no infinite divergence for a category that is not yet shown
HALF_LIFE_DAYS = 30.0  # of an event in the mix
LEAST_SHARE = 1e-9  # of the mix; what is less is forgotten


class Mix:
    """wanted_G: shares of the past, sum 1. group_C: category of each candidate, len(wanted_G) for one the past does not know."""

    def __init__(self, wanted_G: NDArray[np.float64], group_C: Int64Array, weight: float) -> None:
        self._wanted_G = wanted_G
        self._group_C = group_C
        self._shown_G = np.zeros(len(wanted_G) + 1)
        self._weight = weight

    def gain_C(self) -> Float32Array:
        """float32 [C]: minus the divergence of the slate with each candidate in it, by the weight."""
        divergence_G = self._parts(self._shown_G[:-1])
        divergence_with_G = self._parts(self._shown_G[:-1] + 1)
        total = divergence_G.sum()
        after_G = np.append(total - divergence_G + divergence_with_G, total)
        gain_C: Float32Array = (-self._weight * after_G[self._group_C]).astype(np.float32)
        return gain_C

    def take(self, candidate: int) -> None:
        self._shown_G[self._group_C[candidate]] += 1

    def _parts(self, shown_G: NDArray[np.float64]) -> NDArray[np.float64]:
        """The summands of KL(p, q) were the next slate to hold so many of each category."""
        share_G = shown_G / (self._shown_G.sum() + 1)
        smoothed_G = (1 - SMOOTHING) * share_G + SMOOTHING * self._wanted_G
        parts: NDArray[np.float64] = self._wanted_G * np.log(self._wanted_G / smoothed_G)
        return parts


def mix_of(draft: Draft, weight: float) -> Mix | None:
    """None where nothing is known of the shopper's interests."""
    pool, view = draft.pool, draft.live.catalogue
    assert pool is not None
    wanted = interests(draft)
    if not wanted:
        return None
    group_of = {name: group for group, name in enumerate(wanted)}
    paths = view.labels(pool.rows_C, "category")
    group_C = np.asarray([group_of.get(path[0], len(wanted)) if path else len(wanted) for path in paths], np.int64)
    return Mix(np.asarray([*wanted.values()]), group_C, weight)


def interests(draft: Draft) -> dict[str, float]:
    """Outermost category -> share of what the shopper did there, newer things more. Ages count from the newest of them, so that a shopper
    who comes back after years still has interests."""
    asked, view = draft.asked, draft.live.catalogue
    done = [entry for entry in asked.state.history if EVENT_WEIGHTS.get(entry.type, 1.0) > 0] if asked.personal else []
    known = [(entry, row) for entry in done if (row := view.row(entry.item_id)) is not None]
    paths = view.labels(np.asarray([row for _, row in known], np.int64), "category")
    of_category = [(entry, path[0]) for (entry, _), path in zip(known, paths, strict=True) if path]
    newest = max((entry.occurred_at for entry, _ in of_category), default=0.0)
    weights: dict[str, float] = defaultdict(float)
    for entry, category in of_category:
        age_days = (newest - entry.occurred_at) / SECONDS_PER_DAY
        weights[category] += EVENT_WEIGHTS.get(entry.type, 1.0) * 0.5 ** (age_days / HALF_LIFE_DAYS)
    total = sum(weights.values())
    kept = {category: weight for category, weight in weights.items() if weight >= LEAST_SHARE * total}
    return {category: weight / sum(kept.values()) for category, weight in kept.items()}
