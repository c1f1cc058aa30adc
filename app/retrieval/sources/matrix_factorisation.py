"""Implicit matrix factorisation with fold-in: the user's factors are solved for at request time from the live history.

Shapes: B users, L history, N trained items, F factors.
"""

from __future__ import annotations

import numpy as np

from app.features.users import PAD, UserBatch
from app.retrieval.index import Neighbours, VectorIndex
from app.retrieval.sources.profile import recency_weights
from app.retrieval.sources.source import Fitted
from app.retrieval.space import ItemSpace
from app.types import BoolArray, Float32Array


class MatrixFactorisationSource:
    """factors: float32 [N, F] of the items. gram: factors' Gram matrix plus regularisation, [F, F]. confidence: of one event.

    Source: Hu, Koren & Volinsky 2008, eq. 4.
    """

    name = "matrix_factorisation"

    def __init__(self, fitted: Fitted) -> None:
        self._factors_NF: Float32Array = fitted.arrays["factors"]
        # exact: a graph over vectors of different lengths finds too little
        self._index = VectorIndex(self._factors_NF, exact=True)
        self._gram_FF: Float32Array = np.asarray(fitted.arrays["gram"])
        self._confidence = fitted.number("confidence")
        self._decay = fitted.number("decay")

    def find(self, users: UserBatch, space: ItemSpace, num: int, allowed_R: BoolArray | None) -> Neighbours:
        rows_BL = space.trained_rows(users.history_BL)
        weight_BL = np.where(rows_BL != PAD, recency_weights(users, self._decay), 0.0)
        user_BF = np.stack([self.fold_in(row, weight) for row, weight in zip(rows_BL, weight_BL, strict=True)])
        current_N = space.current_N
        if allowed_R is not None:
            allowed_R = allowed_R[: len(space.index)] if current_N is None else allowed_R[current_N]
        rows_BK, scores_BK = self._index.search(user_BF, num, allowed_R)
        known_B1 = np.any(user_BF, axis=1, keepdims=True)
        found_BK = (rows_BK >= 0) & known_B1
        current_BK = rows_BK if current_N is None else current_N[rows_BK]
        return np.where(found_BK, current_BK, -1), np.where(found_BK, scores_BK, -np.inf).astype(np.float32)

    def fold_in(self, rows_L: np.ndarray, weight_L: Float32Array) -> Float32Array:
        """float32 [F]: the least-squares user for these events; an event of weight w counts as w of an event."""
        chosen = weight_L > 0
        if not chosen.any():
            return np.zeros(len(self._gram_FF), np.float32)
        factors_CF, weight_C1 = self._factors_NF[rows_L[chosen]], weight_L[chosen, None]
        system_FF = self._gram_FF + factors_CF.T @ (factors_CF * (weight_C1 * (self._confidence - 1.0)))
        wanted_F = (factors_CF * (weight_C1 * self._confidence)).sum(0)
        solved: Float32Array = np.linalg.solve(system_FF, wanted_F).astype(np.float32)
        return solved
