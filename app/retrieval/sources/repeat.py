"""The user's own past items, due again. Brings something only where past items may be shown.

Shapes: B users, L history, N trained items.
"""

from __future__ import annotations

import numpy as np

from app.features.users import PAD, UserBatch
from app.retrieval.index import Neighbours, best
from app.retrieval.sources.lists import stack
from app.retrieval.sources.source import Fitted
from app.retrieval.space import ItemSpace
from app.types import BoolArray, Float32Array, Int64Array

HOURS_PER_DAY = 24.0


class RepeatSource:
    """score = again^propensity · (sum over the user's events of it, halved every half_life_days) · min(1, age / interval)^due

    again: [N], the share of its buyers who bought it again, shrunk. interval: [N], median days between two purchases, shrunk; the
    user's own mean interval takes its place where there are three purchases or more. kinds: rows of KINDS that count.
    """

    name = "repeat"

    def __init__(self, fitted: Fitted) -> None:
        self._again_N: Float32Array = fitted.arrays["again"]
        self._interval_N: Float32Array = fitted.arrays["interval"]
        self._kinds = np.asarray(fitted.arrays["kinds"])
        self._half_life_hours = fitted.number("half_life_days") * HOURS_PER_DAY
        self._propensity, self._due = fitted.number("propensity"), fitted.number("due")

    def find(self, users: UserBatch, space: ItemSpace, num: int, allowed_R: BoolArray | None) -> Neighbours:
        trained_BL = space.trained_rows(users.history_BL)
        counts_BL = (trained_BL != PAD) & np.isin(users.kinds_BL, self._kinds)
        lists = [self._of(trained_BL[b, counts], users.ages_BL[b, counts]) for b, counts in enumerate(counts_BL)]
        return stack([_allowed(rows, scores, space, num, allowed_R) for rows, scores in lists])

    def _of(self, rows_C: Int64Array, ages_C: Float32Array) -> tuple[Int64Array, Float32Array]:
        """Different trained rows and their scores. rows_C, ages_C: the user's events, oldest first, ages in hours."""
        rows, place_C, times = np.unique(rows_C, return_inverse=True, return_counts=True)
        weight = np.bincount(place_C, 0.5 ** (ages_C / self._half_life_hours), len(rows))
        newest, oldest = np.full(len(rows), np.inf), np.zeros(len(rows))
        np.minimum.at(newest, place_C, ages_C)
        np.maximum.at(oldest, place_C, ages_C)
        own = (oldest - newest) / np.maximum(times - 1, 1)
        interval = np.where((times >= 3) & (own > 0), own, self._interval_N[rows] * HOURS_PER_DAY)
        due = np.minimum(1.0, (newest + 1.0) / np.maximum(interval, 1.0)) ** self._due
        scores = self._again_N[rows] ** self._propensity * weight * due
        return rows.astype(np.int64), scores.astype(np.float32)


def _allowed(
    rows: Int64Array, scores: Float32Array, space: ItemSpace, num: int, allowed_R: BoolArray | None
) -> tuple[Int64Array, Float32Array]:
    current = rows if space.current_N is None else space.current_N[rows]
    kept = scores > 0 if allowed_R is None else (scores > 0) & allowed_R[current]
    found, best_scores = best(scores[None, kept], num, current[kept])
    return found[0], best_scores[0]
