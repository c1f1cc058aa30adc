"""Several ranked lists become one: a weighted sum of what each source says of a candidate.

score(item) = sum over sources of weight · value, divided by the sum of the weights, so it lies in 0-1. The value a source gives is a
mix of three views of its list, whose shares are the source's *shape*: the reciprocal rank steep and flat, and the score between
the best and that at DEPTH. Only the flat view: reciprocal-rank fusion (Cormack, Clarke & Buettcher 2009). Weights and shapes are
fitted in `learning.fusion_fit`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.retrieval.candidates import Candidates, Ranked
from app.scenarios.scenario import Weight
from app.types import Float32Array, Int64Array

UNFITTED: Mapping[str, float] = {
    "two_tower": 1.0, "item_cf": 1.0, "user_cf": 0.5, "matrix_factorisation": 0.5, "content": 0.2, "knowledge_graph": 0.5,
    "complements": 0.3, "popular": 0.3, "trending": 0.1, "repeat": 1.0, "new": 0.05,
}  # fmt: skip
STEEP, FLAT = 2.0, 20.0  # rank constants of the two views by rank
COUNTED_BELOW = 100_000  # rows
DEPTH = 60  # the score at this rank is 0 in the view by score
BY_FLAT_RANK = (0.0, 1.0, 0.0)
VIEWS = len(BY_FLAT_RANK)
REPEAT, EDITORIAL, QUERY = "repeat", "editorial", "query"
# No log says what these two are worth. A query is what the shopper says in so many words: it outweighs all else together. A pin
# must survive every cut, so it weighs what the strongest source does.
QUERY_SHARE = 2 / 3
QUERY_SHAPE = (
    0.3,
    0.1,
    0.6,
)  # how near a text is says more than its place: ten items may be what was asked for, or one
GIVEN_SHAPES: Mapping[str, Sequence[float]] = {QUERY: QUERY_SHAPE}


@dataclass(frozen=True, slots=True)
class Fusion:
    """weights: scenario name -> source -> weight; "" stands for every scenario that has none of its own.

    cold: source -> weight for somebody without a history, whatever the scenario: the profile's words and the crowd are all
    there is, so what was fitted on people with a history does not fit them. with_repeats: source -> weight where past items may
    be shown again. shapes: source -> shares of steep rank, flat rank and score; none: by flat rank.
    """

    weights: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    cold: Mapping[str, float] = field(default_factory=dict)
    with_repeats: Mapping[str, float] = field(default_factory=dict)
    shapes: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def resolve(
        self, scenario: str, asked: Mapping[str, Weight], *, is_cold: bool = False, has_query: bool = False,
        has_pins: bool = False,
    ) -> dict[str, float]:  # fmt: skip
        """The weight of every source asked for: the number given, or what was learned for "learned". None asked: all learned.

        is_cold: the user has no history. has_query: words were asked with; they count even where the scenario names no `query`.
        has_pins: some hold now.
        """
        learned = self._learned(scenario, REPEAT in asked, is_cold)
        wanted: Mapping[str, Weight] = asked or {name: "learned" for name, weight in learned.items() if weight > 0}
        weights = {
            name: learned.get(name, 0.0) if weight == "learned" else float(weight)
            for name, weight in wanted.items()
            if name not in (QUERY, EDITORIAL)
        }
        if has_pins and EDITORIAL in asked:
            given = asked[EDITORIAL]
            weights[EDITORIAL] = max(weights.values(), default=0.0) or 1.0 if given == "learned" else float(given)
        if has_query:
            given = asked.get(QUERY, "learned")
            others = sum(weights.values())
            weights[QUERY] = (others * QUERY_SHARE / (1 - QUERY_SHARE) or 1.0) if given == "learned" else float(given)
        return weights

    def fuse(self, lists: Mapping[str, Ranked], weights: Mapping[str, float], num: int) -> Candidates:
        """lists: source -> proposals to one user. A source of weight 0 brings nothing."""
        lists = {name: ranked for name, ranked in lists.items() if weights.get(name, 0.0) > 0}
        if not lists:
            return Candidates(np.empty(0, np.int64), np.empty(0, np.float32), {})
        weight_Q = np.asarray([weights[name] for name in lists])
        weight_Q /= weight_Q.sum()
        shape_QV = np.asarray([self.shapes.get(name, GIVEN_SHAPES.get(name, BY_FLAT_RANK)) for name in lists])
        length_Q = np.asarray([len(ranked.rows_K) for ranked in lists.values()])
        scores_QK = np.full((len(lists), int(length_Q.max())), -np.inf, np.float32)
        for scores_K, ranked in zip(scores_QK, lists.values(), strict=True):
            scores_K[: len(ranked.scores_K)] = ranked.scores_K
        share_VQ1 = (weight_Q[:, None] * shape_QV).T[..., None]
        by_rank = _views_by_rank(scores_QK.shape[1])
        there_QK = np.arange(scores_QK.shape[1]) < length_Q[:, None]
        part_QK = share_VQ1[0] * by_rank[0] + share_VQ1[1] * by_rank[1] + share_VQ1[2] * _by_score(scores_QK, length_Q)

        source_E, rank_E = np.nonzero(there_QK)
        rows_E = np.concatenate([ranked.rows_K for ranked in lists.values()])
        part_E, scores_E = part_QK[there_QK], scores_QK[there_QK]
        union_U, place_E = _numbered(rows_E)
        fused_U = np.bincount(place_E, part_E, len(union_U)).astype(np.float64, copy=False)
        order_C = np.argsort(-fused_U, kind="stable")[:num]
        C = len(order_C)
        place_U = np.full(len(union_U), -1)
        place_U[order_C] = np.arange(C)
        place_E = place_U[place_E]
        kept_E = np.flatnonzero(place_E >= 0)
        at_E = source_E[kept_E] * C + place_E[kept_E]

        def spread(values_E: NDArray[Any], empty: float, dtype: type) -> dict[str, NDArray[Any]]:
            out_X: NDArray[Any] = np.full(len(lists) * C, empty, dtype)
            out_X[at_E] = values_E[kept_E]
            return dict(zip(lists, out_X.reshape(len(lists), C), strict=True))

        return Candidates(
            union_U[order_C],
            fused_U[order_C].astype(np.float32),
            spread(rank_E + 1, 0, np.int32),
            spread(scores_E, np.nan, np.float32),
            spread(part_E, 0.0, np.float32),
        )

    def _learned(self, scenario: str, repeats: bool, is_cold: bool) -> Mapping[str, float]:
        if is_cold:
            return self.cold or UNFITTED
        if repeats and self.with_repeats:
            return self.with_repeats
        return self.weights.get(scenario) or self.weights.get("") or UNFITTED


def views(scores_K: Float32Array) -> Float32Array:
    """The three views of a list, best first, each from 1 down to 0 or more: float32 [K, VIEWS]."""
    by_score_1K = _by_score(scores_K[None], np.asarray([len(scores_K)]))
    return np.concatenate([_views_by_rank(len(scores_K)), by_score_1K]).T


@lru_cache(maxsize=64)
def _views_by_rank(length: int) -> Float32Array:
    """Steep and flat, [2, K]."""
    rank_K = np.arange(1, length + 1)
    both_2K: Float32Array = np.stack([(constant + 1) / (constant + rank_K) for constant in (STEEP, FLAT)]).astype(
        np.float32
    )
    both_2K.flags.writeable = False
    return both_2K


def _by_score(scores_QK: Float32Array, length_Q: Int64Array) -> Float32Array:
    """0-1 between the score at DEPTH and the best of each list, [Q, K]; what stands behind a list says nothing."""
    if not scores_QK.shape[1]:
        return np.empty(scores_QK.shape, np.float32)
    deep_Q = np.clip(length_Q, 1, DEPTH) - 1
    least_Q1 = scores_QK[np.arange(len(scores_QK)), deep_Q][:, None]
    known_Q1 = np.where(length_Q[:, None] > 0, least_Q1, 0.0).astype(np.float32)
    best_Q1 = np.where(length_Q[:, None] > 0, scores_QK[:, :1], 0.0).astype(np.float32)
    span_Q1 = np.maximum(best_Q1 - known_Q1, np.float32(1e-12))
    by_score_QK: Float32Array = np.clip((scores_QK - known_Q1) / span_Q1, 0.0, 1.0)
    return by_score_QK


def _numbered(rows_E: Int64Array) -> tuple[Int64Array, Int64Array]:
    """The different rows, rising, and the place of each row among them: as np.unique. By counting where the rows are small numbers, else by
    sorting."""
    if not len(rows_E) or rows_E.max() >= COUNTED_BELOW:
        union_U, place_E = np.unique(rows_E, return_inverse=True)
        return union_U, place_E
    there_R = np.zeros(int(rows_E.max()) + 1, np.bool_)
    there_R[rows_E] = True
    union_U = np.flatnonzero(there_R)
    place_R = np.empty(len(there_R), np.int64)
    place_R[union_U] = np.arange(len(union_U))
    return union_U, place_R[rows_E]
