"""The material of the fusion fit: what every source said of every candidate of every case, in one padded array.

Shapes: U cases, C candidates of a case (union of the sources), Q sources, V views (see `retrieval.fusion`), E entries of all lists,
X targets among the candidates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from app.retrieval.candidates import Ranked
from app.retrieval.fusion import VIEWS, views
from app.types import BoolArray, Float32Array, Int64Array

DEPTH = 60  # candidates of each source that the fit looks at: what stands deeper hardly ever reaches ten
DISCOUNT = 1.0 / np.log2(np.arange(2, 12))

_NOTHING = np.empty(0, np.int64)


class CaseTable:
    """views_UCQV: 0 where the source did not bring the candidate. known_UC: False for padding. hit_UC: is it a target?
    ideal_U: DCG of the best list."""

    def __init__(
        self, lists: Sequence[Mapping[str, Ranked]], targets: Sequence[Int64Array], sources: Sequence[str]
    ) -> None:
        self.sources = tuple(sources)
        U, Q = len(lists), len(self.sources)
        heads = [of_user[name].rows_K[:DEPTH] for of_user in lists for name in sources]
        seen = [views(of_user[name].scores_K)[:DEPTH] for of_user in lists for name in sources]
        size_L = np.asarray([len(rows) for rows in heads], np.int64)  # lists L: user by user, source by source
        user_E, source_E = (np.repeat(of_L, size_L) for of_L in (np.arange(U).repeat(Q), np.tile(np.arange(Q), U)))
        row_E, wanted_T = (np.concatenate([*arrays, _NOTHING]) for arrays in (heads, targets))
        span = 1 + int(max(row_E.max(initial=0), wanted_T.max(initial=0)))
        key_V, place_E = np.unique(user_E * span + row_E, return_inverse=True)  # V: candidates of all cases
        user_V = key_V // span
        size_U = np.bincount(user_V, minlength=U)
        column_V = np.arange(len(key_V)) - np.repeat(np.cumsum(size_U) - size_U, size_U)
        shape = (U, int(size_U.max(initial=0)))
        self.views_UCQV = np.zeros((*shape, Q, VIEWS), np.float32)
        self.hit_UC, self.known_UC = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
        if len(row_E):
            self.views_UCQV[user_E, column_V[place_E], source_E] = np.concatenate(seen)
        user_T = np.repeat(np.arange(U), [len(wanted) for wanted in targets])
        self.known_UC[user_V, column_V] = True
        self.hit_UC[user_V, column_V] = np.isin(key_V, user_T * span + wanted_T)
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
        """NDCG@10 of each case by this weighting of the views."""
        weight_P = coefficients_QV.astype(np.float32).ravel()
        views_UCP = self.views_UCQV.reshape(*self.hit_UC.shape, -1)
        used = np.flatnonzero(weight_P)
        if len(used) <= VIEWS:  # a source alone: most of the array need not be read
            return self.ndcg_by(views_UCP[..., used] @ weight_P[used])
        return self.ndcg_by(views_UCP @ weight_P)

    def ndcg_by(self, score_UC: Float32Array) -> Float32Array:
        """NDCG@10 of each case by these scores; a candidate of score 0 is not shown, of equals the earlier column stands first.

        The place of a target is how many stand before it: counting them costs a tenth of sorting the list."""
        user_X, column_X = self._hits
        score_X = score_UC[user_X, column_X]
        shown = score_X > 0
        user_X, column_X, score_X1 = user_X[shown], column_X[shown, None], score_X[shown, None]
        among_XC = score_UC[user_X]
        before_X = (among_XC > score_X1).sum(1)
        before_X += ((among_XC == score_X1) & (np.arange(score_UC.shape[1]) < column_X)).sum(1)
        gain_X = np.append(DISCOUNT, 0.0)[np.minimum(before_X, len(DISCOUNT))]
        values: Float32Array = (np.bincount(user_X, gain_X, len(self)) / self.ideal_U).astype(np.float32)
        return values

    def ndcg(self, coefficients_QV: Float32Array) -> float:
        return float(self.ndcg_U(coefficients_QV).mean()) if len(self) else 0.0

    @cached_property
    def _hits(self) -> tuple[Int64Array, Int64Array]:
        """Case and column of every target among the candidates."""
        user_X, column_X = np.nonzero(self.hit_UC)
        return user_X.astype(np.int64), column_X.astype(np.int64)
