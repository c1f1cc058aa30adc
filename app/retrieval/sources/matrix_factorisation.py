"""Implicit matrix factorisation with fold-in: the user's factors are solved for at request time from the live history.

Shapes: B users, L events, N trained items, F factors.
"""

from __future__ import annotations

import numpy as np

from app.features.users import UserBatch
from app.retrieval.index import Neighbours, VectorIndex
from app.retrieval.sources import folding
from app.retrieval.sources.profile import profile
from app.retrieval.sources.source import Fitted
from app.retrieval.space import ItemSpace
from app.types import BoolArray, Float32Array, Int32Array


class MatrixFactorisationSource:
    """factors: float32 [N, F] of the items. gram: factors' Gram matrix plus regularisation, [F, F]. confidence: of one event.

    Source: Hu, Koren & Volinsky 2008, eq. 4.
    """

    name = "matrix_factorisation"

    def __init__(self, fitted: Fitted) -> None:
        self._factors_NF: Float32Array = np.ascontiguousarray(fitted.arrays["factors"], np.float32)
        # exact: a graph over vectors of different lengths finds too little
        self._index = VectorIndex(self._factors_NF, exact=True)
        self._gram_FF: Float32Array = np.ascontiguousarray(fitted.arrays["gram"], np.float32)
        self._confidence = fitted.number("confidence")
        self._decay = fitted.number("decay")

    def find(self, users: UserBatch, space: ItemSpace, num: int, allowed_R: BoolArray | None) -> Neighbours:
        user_BF = self._folded_in(*profile(users, space, self._decay))
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
        rows_1L, weight_1L = np.asarray(rows_L, np.int32)[None], np.asarray(weight_L, np.float32)[None]
        user_F: Float32Array = self._folded_in(rows_1L, weight_1L)[0]
        return user_F

    def _folded_in(self, rows_BL: Int32Array, weight_BL: Float32Array) -> Float32Array:
        user_BF = np.zeros((len(rows_BL), len(self._gram_FF)), np.float32)
        folding.fold_in(rows_BL, weight_BL, self._factors_NF, self._gram_FF, self._confidence, user_BF)
        return user_BF
