"""An item space as the ranker's features read it. Shapes: C candidates, N trained items, M delta items, S scenarios, D dim, P text dim."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.features.ranking import ItemFacts, Items
from app.retrieval.sources.content import ContentSource
from app.retrieval.space import ItemSpace
from app.types import Float32Array, Int64Array

LEAST_SHARE = 1e-7


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
        return self.space.take(rows_C.astype(np.int32))

    def texts(self, rows_C: Int64Array) -> Float32Array:
        if self.content is None:
            return np.zeros((len(rows_C), 0), np.float32)
        return self.content.vectors(rows_C, self.space)

    def words(self, text_T: Float32Array) -> Float32Array:
        if self.content is None:
            return np.zeros(0, np.float32)
        words_P: Float32Array = self.content.project(text_T[None])[0]
        return words_P

    def published(self, rows_C: Int64Array) -> NDArray[np.float64]:
        return self.space.published_R[rows_C]

    def popularity(self, rows_C: Int64Array, scenario: int) -> tuple[Float32Array, Float32Array, Float32Array]:
        trained_C = self._trained(rows_C)
        count_C = np.where(trained_C >= 0, self.counts_N[trained_C], 0).astype(np.float32)
        count_C[count_C == 0] = np.nan
        if self.popularity_SN is None:
            nothing_C = np.full(len(rows_C), np.nan, np.float32)
            return nothing_C, nothing_C, np.log1p(count_C)
        row = scenario if scenario < len(self.popularity_SN) else 0
        share_2C = np.log(
            np.maximum(np.stack([self.popularity_SN[row, trained_C], self.popularity_SN[0, trained_C]]), LEAST_SHARE)
        )
        share_2C[:, np.isnan(count_C)] = np.nan
        return share_2C[0], share_2C[1], np.log1p(count_C)

    def intervals(self, rows_C: Int64Array) -> Float32Array:
        trained_C = self._trained(rows_C)
        if self.interval_N is None:
            return np.full(len(rows_C), np.nan, np.float32)
        return np.where(trained_C >= 0, self.interval_N[trained_C], np.nan).astype(np.float32)

    def _trained(self, rows_C: Int64Array) -> Int64Array:
        return self.space.trained_rows(rows_C.astype(np.int32)).astype(np.int64)
