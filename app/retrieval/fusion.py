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
from itertools import compress

import numpy as np

from app.retrieval import scratch
from app.retrieval.candidates import BySource, Candidates, Ranked
from app.retrieval.proposals import Proposals, pooled
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
        longest = max((len(ranked.rows_K) for ranked in lists.values()), default=0)
        highest = max((int(ranked.rows_K.max(initial=-1)) for ranked in lists.values()), default=-1)
        proposals = Proposals.room(tuple(lists), 1, longest, highest + 1)
        for name, ranked in lists.items():
            proposals.put(name, ranked.rows_K[None], ranked.scores_K[None])
        return self.fuse_all(proposals, [weights], num)[0]

    def fuse_all(self, proposals: Proposals, weights: Sequence[Mapping[str, float]], num: int) -> list[Candidates]:
        """One list for each user. weights: of each; a source of weight 0 brings nothing."""
        names, (Q, B, K) = proposals.names, proposals.rows_QBK.shape
        shape_QV = np.asarray([self.shapes.get(name, GIVEN_SHAPES.get(name, BY_FLAT_RANK)) for name in names])
        weight_BQ = np.asarray([[max(of_user.get(name, 0.0), 0.0) for name in names] for of_user in weights]).reshape(
            B, Q
        )
        sum_B1 = weight_BQ.sum(1, keepdims=True)
        weight_BQ = np.divide(weight_BQ, sum_B1, out=np.zeros_like(weight_BQ), where=sum_B1 > 0)
        C = min(num, int(proposals.length_QB.sum(0).max(initial=0)))
        rows_BC, scores_BC, length_B = np.empty((B, C), np.int64), np.empty((B, C), np.float32), np.zeros(B, np.int64)
        ranks_BQC = np.empty((B, Q, C), np.int32)
        told_BQC, parts_BQC = np.empty((B, Q, C), np.float32), np.empty((B, Q, C), np.float32)
        lists = (proposals.rows_QBK, proposals.scores_QBK, proposals.length_QB)
        share_BQV, places_R = weight_BQ[..., None] * shape_QV, scratch.places(proposals.num_rows)
        said = (ranks_BQC, told_BQC, parts_BQC)
        pooled(lists, share_BQV, _views_by_rank(K), DEPTH, places_R, (rows_BC, scores_BC, length_B), said)
        found, is_heard_BQ = [], weight_BQ > 0
        for b, (length, hears_all) in enumerate(zip(length_B.tolist(), is_heard_BQ.all(1).tolist(), strict=True)):
            rank_QC, told_QC, part_QC = ranks_BQC[b, :, :length], told_BQC[b, :, :length], parts_BQC[b, :, :length]
            table = (rank_QC, told_QC) if length == C and hears_all else None
            heard = names
            if not hears_all:
                is_heard_Q = is_heard_BQ[b]
                heard = tuple(compress(names, is_heard_Q.tolist()))
                rank_QC, told_QC, part_QC = rank_QC[is_heard_Q], told_QC[is_heard_Q], part_QC[is_heard_Q]
            by_source = BySource(heard, rank_QC), BySource(heard, told_QC), BySource(heard, part_QC)
            found.append(Candidates(rows_BC[b, :length], scores_BC[b, :length], *by_source, table=table))
        return found

    def _learned(self, scenario: str, repeats: bool, is_cold: bool) -> Mapping[str, float]:
        if is_cold:
            return self.cold or UNFITTED
        if repeats and self.with_repeats:
            return self.with_repeats
        return self.weights.get(scenario) or self.weights.get("") or UNFITTED


def views(scores_K: Float32Array) -> Float32Array:
    """The three views of a list, best first, each from 1 down to 0 or more: float32 [K, VIEWS]."""
    by_score_K = _by_score(scores_K) if len(scores_K) else scores_K
    return np.concatenate([_views_by_rank(len(scores_K)), by_score_K[None]]).T


@lru_cache(maxsize=64)
def _views_by_rank(length: int) -> Float32Array:
    """Steep and flat, [2, K]."""
    rank_K = np.arange(1, length + 1)
    both_2K: Float32Array = np.stack([(constant + 1) / (constant + rank_K) for constant in (STEEP, FLAT)]).astype(
        np.float32
    )
    both_2K.flags.writeable = False
    return both_2K


def _by_score(scores_K: Float32Array) -> Float32Array:
    """0-1 between the score at DEPTH and the best."""
    least = scores_K[min(len(scores_K), DEPTH) - 1]
    by_score_K: Float32Array = np.clip((scores_K - least) / max(scores_K[0] - least, np.float32(1e-12)), 0.0, 1.0)
    return by_score_K
