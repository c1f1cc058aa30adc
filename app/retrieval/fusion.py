"""Several ranked lists become one: a weighted sum of what each source says of a candidate.

score(item) = sum over sources of weight · value, divided by the sum of the weights, so it lies in 0-1. The value a source gives is a
mix of three views of its list, whose shares are the source's *shape*: the reciprocal rank steep and flat, and the score between
the best and that at DEPTH. Only the flat view: reciprocal-rank fusion (Cormack, Clarke & Buettcher 2009). Weights and shapes are
fitted in `learning.fusion_fit`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from app.retrieval.candidates import Candidates, Ranked
from app.scenarios.scenario import Weight
from app.types import Float32Array

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
        union_C, place = np.unique(np.concatenate([rows for rows, _ in lists.values()]), return_inverse=True)
        fused_C = np.zeros(len(union_C))
        ranks, of_source, parts, start = {}, {}, {}, 0
        total = sum(weights[name] for name in lists)
        for name, (rows, scores) in lists.items():
            mine = place[start : start + len(rows)]
            value_K = views(scores) @ np.asarray(self.shapes.get(name, GIVEN_SHAPES.get(name, BY_FLAT_RANK)))
            parts[name] = np.zeros(len(union_C), np.float32)
            parts[name][mine] = weights[name] / total * value_K
            fused_C[mine] += weights[name] * value_K
            ranks[name] = np.zeros(len(union_C), np.int32)
            ranks[name][mine] = np.arange(1, len(rows) + 1)
            of_source[name] = np.full(len(union_C), np.nan, np.float32)
            of_source[name][mine] = scores
            start += len(rows)
        fused_C /= total
        order_C = np.argsort(-fused_C, kind="stable")[:num]
        return Candidates(
            union_C[order_C],
            fused_C[order_C].astype(np.float32),
            {name: rank_C[order_C] for name, rank_C in ranks.items()},
            {name: scores_C[order_C] for name, scores_C in of_source.items()},
            {name: part_C[order_C] for name, part_C in parts.items()},
        )

    def _learned(self, scenario: str, repeats: bool, is_cold: bool) -> Mapping[str, float]:
        if is_cold:
            return self.cold or UNFITTED
        if repeats and self.with_repeats:
            return self.with_repeats
        return self.weights.get(scenario) or self.weights.get("") or UNFITTED


def views(scores_K: Float32Array) -> Float32Array:
    """The three views of a list, best first, each from 1 down to 0 or more: float32 [K, VIEWS]."""
    rank_K = np.arange(1, len(scores_K) + 1)
    if not len(scores_K):
        return np.empty((0, VIEWS), np.float32)
    least = scores_K[min(len(scores_K), DEPTH) - 1]
    span = max(float(scores_K[0] - least), 1e-12)
    by_score_K = np.clip((scores_K - least) / span, 0.0, 1.0)
    out: Float32Array = np.stack(
        [(STEEP + 1) / (STEEP + rank_K), (FLAT + 1) / (FLAT + rank_K), by_score_K], axis=1
    ).astype(np.float32)
    return out
