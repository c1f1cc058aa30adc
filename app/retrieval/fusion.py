"""Several ranked lists become one: a weighted sum of what each source says of a candidate.

score(item) = sum over sources of weight · value, divided by the sum of the weights, so it lies in 0-1. The value a source gives is a
mix of three views of its list, whose shares are the source's *shape*: the reciprocal rank steep and flat, and the score between
the best and that at DEPTH. Only the flat view: reciprocal-rank fusion (Cormack, Clarke & Buettcher 2009). Weights and shapes are
fitted in `learning.fusion_fit`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
        length_Q = [len(ranked.rows_K) for ranked in lists.values()]
        rows_E = np.concatenate([ranked.rows_K for ranked in lists.values()])
        scores_E = np.concatenate([ranked.scores_K for ranked in lists.values()])
        source_E = np.repeat(np.arange(len(lists)), length_Q)
        rank_E, by_score_E = _ranks(length_Q), _by_score(scores_E, length_Q, source_E)
        share_VQ = (weight_Q[:, None] * shape_QV).T
        part_E = sum(
            share_Q[source_E] * view_E for share_Q, view_E in zip(share_VQ, _views(rank_E, by_score_E).T, strict=True)
        )
        union_U, place_E = _numbered(rows_E)
        fused_U = np.bincount(place_E, part_E, len(union_U))
        order_C = np.argsort(-fused_U, kind="stable")[:num]
        place_U = np.full(len(union_U), -1)
        place_U[order_C] = np.arange(len(order_C))
        place_E = place_U[place_E]
        kept_E = place_E >= 0
        at = source_E[kept_E], place_E[kept_E]

        def spread(values_E: NDArray[Any], empty: float, dtype: type) -> dict[str, NDArray[Any]]:
            out_QC: NDArray[Any] = np.full((len(lists), len(order_C)), empty, dtype)
            out_QC[at] = values_E[kept_E]
            return dict(zip(lists, out_QC, strict=True))

        return Candidates(
            union_U[order_C],
            fused_U[order_C].astype(np.float32),
            spread(rank_E, 0, np.int32),
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
    length = [len(scores_K)]
    return _views(_ranks(length), _by_score(scores_K, length, np.zeros(len(scores_K), np.int64)))


def _ranks(length_Q: Sequence[int]) -> Int64Array:
    """1, 2, 3 … of each list, the lists behind each other: [E]."""
    ends_Q = np.cumsum(length_Q)
    return np.arange(1, int(ends_Q[-1]) + 1) - np.repeat(ends_Q - length_Q, length_Q)


def _by_score(scores_E: Float32Array, length_Q: Sequence[int], source_E: Int64Array) -> Float32Array:
    """0-1 between the score at DEPTH and the best of the list, [E]."""
    lengths_Q = np.asarray(length_Q)
    if not len(scores_E):
        return np.empty(0, np.float32)
    first_Q = np.minimum(np.cumsum(lengths_Q) - lengths_Q, len(scores_E) - 1)
    least_Q = scores_E[np.minimum(first_Q + np.clip(lengths_Q, 1, DEPTH) - 1, len(scores_E) - 1)]
    span_Q = np.maximum(scores_E[first_Q] - least_Q, np.float32(1e-12))
    by_score_E: Float32Array = np.clip((scores_E - least_Q[source_E]) / span_Q[source_E], 0.0, 1.0)
    return by_score_E


def _numbered(rows_E: Int64Array) -> tuple[Int64Array, Int64Array]:
    """The different rows, rising, and the place of each row among them; as np.unique, in two thirds of its time."""
    order_E = np.argsort(rows_E, kind="stable")
    sorted_E = rows_E[order_E]
    is_new_E = np.ones(len(rows_E), np.bool_)
    is_new_E[1:] = sorted_E[1:] != sorted_E[:-1]
    place_E = np.empty(len(rows_E), np.int64)
    place_E[order_E] = np.cumsum(is_new_E) - 1
    return sorted_E[is_new_E], place_E


def _views(rank_E: Int64Array, by_score_E: Float32Array) -> Float32Array:
    out: Float32Array = np.stack(
        [(STEEP + 1) / (STEEP + rank_E), (FLAT + 1) / (FLAT + rank_E), by_score_E], axis=1
    ).astype(np.float32)
    return out
