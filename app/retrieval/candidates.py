"""What retrieval gives to the slate: rows of the item space with a score, and which source brought them at which rank."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import NamedTuple, TypeVar

import numpy as np

from app.features.ranking.shopper import Shopper
from app.types import Float32Array, Int32Array, Int64Array

NUM_RANKED = 200  # candidates that are ranked for a slate of up to 20 places, in serving and where slates are judged
Table = tuple[Int32Array, Float32Array]
Values = TypeVar("Values", Int32Array, Float32Array)


class Ranked(NamedTuple):
    """What one source proposes to one user, best first, without repeats. Scores are comparable within the list only."""

    rows_K: Int64Array
    scores_K: Float32Array


class BySource(Mapping[str, Values]):
    """Rows of a table [Q, C] by the name of their source. Made in no time, where a dictionary of them would cost as much as fusing."""

    __slots__ = ("_names", "_values_QC")

    def __init__(self, names: tuple[str, ...], values_QC: Values) -> None:
        self._names = names
        self._values_QC: Values = values_QC

    def __getitem__(self, name: str) -> Values:
        if name not in self._names:
            raise KeyError(name)
        values_C: Values = self._values_QC[self._names.index(name)]
        return values_C

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@dataclass(frozen=True, slots=True)
class Candidates:
    """For one user, best first. Shapes: C candidates.

    rows_C: item-space rows, without repeats. scores_C: fused score, finite, falling.
    ranks: source name -> int32 [C], 1-based rank the source gave the candidate, 0 where it did not bring it. scores: source name ->
    float32 [C], the score it gave, in its own measure, NaN where it did not bring it. parts: source name -> float32 [C], what it adds
    to scores_C. The same names in all. shopper: who asked, where a ranker will want to know. table: `stacked`, where they were made so.
    """

    rows_C: Int64Array
    scores_C: Float32Array
    ranks: Mapping[str, Int32Array]
    scores: Mapping[str, Float32Array] = field(default_factory=dict)
    parts: Mapping[str, Float32Array] = field(default_factory=dict)
    shopper: Shopper | None = None
    table: Table | None = None

    def stacked(self) -> Table:
        """ranks and scores as [Q, C], in their order."""
        if self.table is not None:
            return self.table
        shape = (len(self.ranks), len(self.rows_C))
        rank_QC, score_QC = np.empty(shape, np.int32), np.empty(shape, np.float32)
        for q, name in enumerate(self.ranks):
            rank_QC[q], score_QC[q] = self.ranks[name], self.scores[name]
        return rank_QC, score_QC

    def sources_of(self, position: int) -> list[str]:
        return [name for name, rank_C in self.ranks.items() if rank_C[position] > 0]

    def sources_at(self, place_K: Int64Array) -> list[tuple[str, ...]]:
        """`sources_of` of several."""
        names = tuple(self.ranks)
        if self.table is not None:
            ranks_KQ = self.table[0][:, place_K].T.tolist()
        else:
            ranks_KQ = [[int(rank_C[place]) for rank_C in self.ranks.values()] for place in place_K.tolist()]
        return [tuple(compress(names, rank_Q)) for rank_Q in ranks_KQ]

    def rescored(self, factor_C: Float32Array) -> Candidates:
        """With every score and its parts multiplied, in the new order."""
        scores_C = (self.scores_C * factor_C).astype(np.float32)
        parts = {name: (part_C * factor_C).astype(np.float32) for name, part_C in self.parts.items()}
        return replace(self, scores_C=scores_C, parts=parts, table=None)._at(np.argsort(-scores_C, kind="stable"))

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
