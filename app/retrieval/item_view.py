"""An item space as the ranker's features read it. Shapes: C candidates, N trained items, M delta items, S scenarios, D dim, P text dim."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import types
from numpy.typing import NDArray

from app.compiled import compiled, reads, writes
from app.features.ranking import ItemFacts, Items
from app.retrieval.sources.content import ContentSource
from app.retrieval.space import ItemSpace
from app.types import Float32Array, Int64Array

LEAST_SHARE = np.float32(1e-7)
NO_SHARES = np.empty((0, 0), np.float32)


@dataclass(frozen=True, eq=False)
class ItemView(Items):
    """content: None where the snapshot keeps no texts. popularity_SN: shares of the events, row 0 the shop; interval_N: days; None where
    no source keeps them. counts_N: training events."""

    facts: ItemFacts
    home: str
    space: ItemSpace
    content: ContentSource | None
    popularity_SN: Float32Array | None
    interval_N: Float32Array | None
    counts_N: Int64Array

    def vectors(self, rows_C: Int64Array) -> Float32Array:
        return self.space.take(rows_C)

    def texts(self, rows_C: Int64Array) -> Float32Array:
        if self.content is None:
            return np.zeros((len(rows_C), 0), np.float32)
        if not len(self.space.vectors_MD):
            return self._texts_NP.take(rows_C, 0)
        return self.content.vectors(rows_C, self.space)

    @cached_property
    def _texts_NP(self) -> Float32Array:
        """A plain array, although it may be memory-mapped."""
        assert self.content
        return np.asarray(self.content.index.vectors_ND)

    def words(self, text_T: Float32Array) -> Float32Array:
        if self.content is None:
            return np.zeros(0, np.float32)
        words_P: Float32Array = self.content.project(text_T[None])[0]
        return words_P

    def published(self, rows_C: Int64Array) -> NDArray[np.float64]:
        return self.space.published_R.take(rows_C)

    def popularity(self, rows_C: Int64Array, scenario_C: Int64Array) -> Float32Array:
        out_3C = np.full((3, len(rows_C)), np.nan, np.float32)
        shares_SN = NO_SHARES if self.popularity_SN is None else self.popularity_SN
        _fill_popularity(out_3C, self.space.trained_rows(rows_C), scenario_C, self.counts_N, shares_SN)
        return np.log(out_3C, out=out_3C)

    def intervals(self, rows_C: Int64Array) -> Float32Array:
        out_C = np.full(len(rows_C), np.nan, np.float32)
        if self.interval_N is not None:
            _fill_trained(out_C, self.space.trained_rows(rows_C), self.interval_N)
        return out_C


@compiled(types.void(writes("f4", 2), reads("i8"), reads("i8"), reads("i8"), reads("f4", 2)))
def _fill_popularity(
    out_3C: Float32Array, trained_C: Int64Array, scenario_C: Int64Array, counts_N: Int64Array, shares_SN: Float32Array
) -> None:
    """Of each item that training saw an event of: both shares, if they are known, and one more than the events. A scenario that training
    did not know is the shop."""
    for c in range(len(trained_C)):
        row = trained_C[c]
        if row >= 0 and counts_N[row] > 0:
            if len(shares_SN):
                here = scenario_C[c] if scenario_C[c] < len(shares_SN) else 0
                out_3C[0, c] = max(shares_SN[here, row], LEAST_SHARE)
                out_3C[1, c] = max(shares_SN[0, row], LEAST_SHARE)
            out_3C[2, c] = np.float32(counts_N[row]) + np.float32(1.0)


@compiled(types.void(writes("f4"), reads("i8"), reads("f4")))
def _fill_trained(out_C: Float32Array, trained_C: Int64Array, value_N: Float32Array) -> None:
    for c in range(len(trained_C)):
        if trained_C[c] >= 0:
            out_C[c] = value_N[trained_C[c]]
