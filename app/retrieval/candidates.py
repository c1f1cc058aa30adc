"""What retrieval gives to the slate: rows of the item space with a score, and which source brought them at which rank."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import NamedTuple

import numpy as np

from app.features.ranking.shopper import Shopper
from app.types import Float32Array, Int32Array, Int64Array


class Ranked(NamedTuple):
    """What one source proposes to one user, best first, without repeats. Scores are comparable within the list only."""

    rows_K: Int64Array
    scores_K: Float32Array


@dataclass(frozen=True, slots=True)
class Candidates:
    """For one user, best first. Shapes: C candidates.

    rows_C: item-space rows, without repeats. scores_C: fused score, finite, falling.
    ranks: source name -> int32 [C], 1-based rank the source gave the candidate, 0 where it did not bring it. scores: source name ->
    float32 [C], the score it gave, in its own measure, NaN where it did not bring it. parts: source name -> float32 [C], what it adds
    to scores_C. The same names in all. shopper: who asked, where a ranker will want to know.
    """

    rows_C: Int64Array
    scores_C: Float32Array
    ranks: Mapping[str, Int32Array]
    scores: Mapping[str, Float32Array] = field(default_factory=dict)
    parts: Mapping[str, Float32Array] = field(default_factory=dict)
    shopper: Shopper | None = None

    def sources_of(self, position: int) -> list[str]:
        return [name for name, rank_C in self.ranks.items() if rank_C[position] > 0]

    def sources_at(self, place_K: Int64Array) -> list[tuple[str, ...]]:
        """`sources_of` of several."""
        if not self.ranks:
            return [()] * len(place_K)
        ranks_KQ = zip(*(rank_C[place_K].tolist() for rank_C in self.ranks.values()), strict=True)
        return [tuple(compress(self.ranks, rank_Q)) for rank_Q in ranks_KQ]

    def rescored(self, factor_C: Float32Array) -> Candidates:
        """With every score and its parts multiplied, in the new order."""
        scores_C = (self.scores_C * factor_C).astype(np.float32)
        parts = {name: (part_C * factor_C).astype(np.float32) for name, part_C in self.parts.items()}
        return replace(self, scores_C=scores_C, parts=parts)._at(np.argsort(-scores_C, kind="stable"))

    def head(self, num: int) -> Candidates:
        return self._at(np.arange(min(num, len(self.rows_C))))

    def _at(self, places: Int64Array) -> Candidates:
        return Candidates(
            self.rows_C[places],
            self.scores_C[places],
            {name: rank_C[places] for name, rank_C in self.ranks.items()},
            {name: score_C[places] for name, score_C in self.scores.items()},
            {name: part_C[places] for name, part_C in self.parts.items()},
            self.shopper,
        )
