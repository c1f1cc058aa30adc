"""The material of the fusion fit: what every source said of every candidate of every case, in one padded array.

Shapes: U cases, C candidates of a case (union of the sources), Q sources, V views (see `retrieval.fusion`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from app.retrieval.candidates import Ranked
from app.retrieval.fusion import VIEWS, views
from app.types import BoolArray, Float32Array, Int64Array

DEPTH = 60  # candidates of each source that the fit looks at: what stands deeper hardly ever reaches ten
DISCOUNT = 1.0 / np.log2(np.arange(2, 12))


class CaseTable:
    """views_UCQV: 0 where the source did not bring the candidate. known_UC: False for padding. hit_UC: is it a target?
    ideal_U: DCG of the best list."""

    def __init__(
        self, lists: Sequence[Mapping[str, Ranked]], targets: Sequence[Int64Array], sources: Sequence[str]
    ) -> None:
        self.sources = tuple(sources)
        heads = [
            {name: (of_user[name].rows_K[:DEPTH], views(of_user[name].scores_K)[:DEPTH]) for name in sources}
            for of_user in lists
        ]
        unions = [np.unique(np.concatenate([rows for rows, _ in head.values()])) for head in heads]
        shape = (len(lists), max((len(union) for union in unions), default=0))
        self.views_UCQV = np.zeros((*shape, len(sources), VIEWS), np.float32)
        self.hit_UC, self.known_UC = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
        for u, (union, head) in enumerate(zip(unions, heads, strict=True)):
            self.hit_UC[u, : len(union)] = np.isin(union, targets[u])
            self.known_UC[u, : len(union)] = True
            for q, (rows, seen) in enumerate(head.values()):
                self.views_UCQV[u, np.searchsorted(union, rows), q] = seen
        gains = np.concatenate([[0.0], np.cumsum(DISCOUNT)])
        self.ideal_U = gains[[min(len(wanted), 10) for wanted in targets]]

    def __len__(self) -> int:
        return len(self.ideal_U)

    def subset(self, cases: NDArray[np.integer] | BoolArray) -> CaseTable:
        table: CaseTable = object.__new__(CaseTable)
        table.sources = self.sources
        table.views_UCQV, table.hit_UC = self.views_UCQV[cases], self.hit_UC[cases]
        table.known_UC, table.ideal_U = self.known_UC[cases], self.ideal_U[cases]
        return table

    def ndcg_U(self, coefficients_QV: Float32Array) -> Float32Array:
        """NDCG@10 of each case by this weighting of the views; a candidate of score 0 is not shown."""
        if not self.hit_UC.shape[1]:
            return np.zeros(len(self), np.float32)
        score_UC = self.views_UCQV.reshape(*self.hit_UC.shape, -1) @ coefficients_QV.astype(np.float32).ravel()
        top = np.argpartition(-score_UC, min(10, score_UC.shape[1] - 1), axis=1)[:, :10]
        scores = np.take_along_axis(score_UC, top, 1)
        order = np.argsort(-scores, axis=1, kind="stable")
        hit = np.take_along_axis(np.take_along_axis(self.hit_UC, top, 1), order, 1)
        hit &= np.take_along_axis(scores, order, 1) > 0
        values: Float32Array = ((hit * DISCOUNT[: hit.shape[1]]).sum(1) / self.ideal_U).astype(np.float32)
        return values

    def ndcg(self, coefficients_QV: Float32Array) -> float:
        return float(self.ndcg_U(coefficients_QV).mean()) if len(self) else 0.0
