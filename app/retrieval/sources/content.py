"""Items that read like the recent ones. New items are reachable as soon as their text is encoded.

Shapes: B users, N trained items, M delta items, T text, P projected.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.catalogue.item import Item
from app.features.users import UserBatch
from app.retrieval.index import Neighbours, VectorIndex, best
from app.retrieval.sources.folding import add_vectors
from app.retrieval.sources.lists import merge
from app.retrieval.sources.profile import recency_weights
from app.retrieval.sources.source import Fitted
from app.retrieval.space import ItemSpace
from app.types import BoolArray, Float32Array, Int64Array


class ContentSource:
    """vectors: unit rows [N, P], the texts projected. mean [T] and projection [T, P] do the same to a new text."""

    name = "content"

    def __init__(self, fitted: Fitted, exact: bool = False) -> None:
        """exact: see `VectorIndex`."""
        vectors_NP: Float32Array = np.ascontiguousarray(fitted.arrays["vectors"], np.float32)
        self.index = VectorIndex(vectors_NP, exact, fitted.graphs.get("vectors"))
        self._mean_T: Float32Array = np.asarray(fitted.arrays["mean"])
        self._projection_TP: Float32Array = np.asarray(fitted.arrays["projection"])
        self._decay = fitted.number("decay")

    def of_delta(self, delta: Sequence[Item], text_MT: Float32Array) -> Float32Array:
        return self.project(text_MT)

    @property
    def num_items(self) -> int:
        return len(self.index)

    def project(self, text_NT: Float32Array) -> Float32Array:
        return project(text_NT, self._mean_T, self._projection_TP)

    def vectors(self, rows_C: Int64Array, space: ItemSpace | None = None) -> Float32Array:
        """[C, P] of rows of the space (none given: of trained rows)."""
        N = len(self.index)
        vectors_CP: Float32Array = self.index.vectors_ND[np.where(rows_C >= N, 0, rows_C)]
        in_delta = rows_C >= N
        if space is not None and in_delta.any():
            vectors_CP[in_delta] = space.of_delta[self.name][rows_C[in_delta] - N]
        return vectors_CP

    def find(self, users: UserBatch, space: ItemSpace, num: int, allowed_R: BoolArray | None) -> Neighbours:
        delta_MP = np.ascontiguousarray(space.of_delta.get(self.name, self.index.vectors_ND[:0]), np.float32)
        wanted_BP = np.zeros((len(users), self.index.vectors_ND.shape[1]), np.float32)
        weight_BL = recency_weights(users, self._decay)
        rows_BL = np.ascontiguousarray(users.history_BL, np.int32)
        add_vectors(rows_BL, weight_BL, self.index.vectors_ND, delta_MP, wanted_BP)
        return self.nearest(wanted_BP, space, num, allowed_R)

    def nearest(self, wanted_BP: Float32Array, space: ItemSpace, num: int, allowed_R: BoolArray | None) -> Neighbours:
        """To vectors of any length, which a query and the mean of a history are alike."""
        N, delta_MP = len(space.index), space.of_delta.get(self.name, ())
        allowed_R = _current(space) if allowed_R is None else allowed_R
        found = self.index.search(wanted_BP, num, None if allowed_R is None else allowed_R[:N])
        if len(delta_MP):
            scores_BM = wanted_BP @ delta_MP.T
            if allowed_R is not None:
                scores_BM[:, ~allowed_R[N:]] = -np.inf
            found = merge(*found, *best(scores_BM, num, N + np.arange(len(delta_MP))), num)
        rows_BK, scores_BK = found
        alike_BK = scores_BK > 0  # nothing in common, or nothing known of the user or the item, is no reason to show it
        return np.where(alike_BK, rows_BK, -1), np.where(alike_BK, scores_BK, -np.inf).astype(np.float32)


def project(text_NT: Float32Array, mean_T: Float32Array, projection_TP: Float32Array) -> Float32Array:
    """Unit rows float32 [N, P]; an item without a text stays zero."""
    has_text_N1 = np.abs(text_NT).sum(1, keepdims=True) > 0
    out_NP = np.where(has_text_N1, (text_NT - mean_T) @ projection_TP, 0.0)
    norm_N1 = np.linalg.norm(out_NP, axis=1, keepdims=True)
    unit_NP: Float32Array = (out_NP / np.maximum(norm_N1, 1e-9)).astype(np.float32)
    return unit_NP


def _current(space: ItemSpace) -> BoolArray | None:
    """A mask without the trained rows that a delta row has replaced."""
    replaced = space.trained_M[space.trained_M >= 0]
    if not len(replaced):
        return None
    current_R = np.ones(len(space), np.bool_)
    current_R[replaced] = False
    return current_R
