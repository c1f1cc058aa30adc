"""A walk over the knowledge graph, from the recent items through what they are linked to, and through what is bought together.

Shapes: B users, N trained items, M delta items, E entities.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse

from app.catalogue.item import Item
from app.features.entities import entity_keys
from app.features.users import PAD, UserBatch
from app.retrieval import scratch
from app.retrieval.index import Neighbours, best
from app.retrieval.sources.lists import Ranking, merge
from app.retrieval.sources.profile import profile
from app.retrieval.sources.source import Fitted
from app.retrieval.sources.walks import Matrix, matrix_of, walked
from app.retrieval.space import ItemSpace
from app.types import BoolArray, Float32Array, Int64Array

_NO_MATRIX = np.empty(0, np.float32), np.empty(0, np.int32), np.zeros(1, np.int64)
BEAM = 100  # items of each shopper that a further step goes on from, so that it costs what the first one did


class Link(NamedTuple):
    """score: how much of the score of an item came from this row of the history over this entity."""

    row: int
    key: int  # see `features.entities`
    score: float


class KnowledgeGraphSource:
    """links: CSR [N, E], weight of each entity of an item. together: CSR [N, N], rows sum to 1 or 0. keys: int64 [E], rising.

    One step goes with probability `together` to an item bought together, else over an entity to an item that has it; both ways
    are normalised by degree. The score of an item is the probability mass of `steps` steps, each worth `damping` of the one
    before. Source: personalised PageRank, truncated (Haveliwala 2002).
    """

    name = "knowledge_graph"

    def __init__(self, fitted: Fitted) -> None:
        links_NE = fitted.csr("links")
        self._links_NE = links_NE
        self._to_entity_NE = normalised_rows(links_NE)
        to_item_EN = normalised_rows(sparse.csr_array(links_NE.T))
        self._ways: tuple[Matrix, Matrix, Matrix] = (
            matrix_of(self._to_entity_NE),
            matrix_of(to_item_EN),
            matrix_of(fitted.csr("together")),
        )
        self._mass_E = np.asarray(links_NE.sum(0)).ravel()
        self._keys_E: Int64Array = np.asarray(fitted.arrays["keys"])
        self._weight_E: Float32Array = np.asarray(fitted.arrays["weights"])
        self._together, self._damping = fitted.number("together"), fitted.number("damping")
        self._steps, self._decay = int(fitted.number("steps")), fitted.number("decay")

    def of_delta(self, delta: Sequence[Item], text_MT: Float32Array) -> sparse.csr_array:
        """CSR [E, M]: from each entity to the new items that have it, in the measure of the trained ones."""
        links_ME = link(list(map(entity_keys, delta)), self._keys_E, self._weight_E)
        scale_E = 1.0 / np.maximum(self._mass_E, 1e-9)
        return sparse.csr_array(sparse.diags_array(scale_E.astype(np.float32)) @ links_ME.T)

    def find(self, users: UserBatch, space: ItemSpace, num: int, allowed_R: BoolArray | None) -> Neighbours:
        N, E = len(space.index), len(self._keys_E)
        to_delta_EM: sparse.csr_array | None = space.of_delta.get(self.name)
        to_delta = _NO_MATRIX if to_delta_EM is None else matrix_of(to_delta_EM)
        scores_BM = np.zeros((len(users), 0 if to_delta_EM is None else to_delta_EM.shape[1]), np.float32)
        ranking = Ranking(len(users), space, num, allowed_R, working_rows=E)
        history, odds = profile(users, space, self._decay), (self._together, self._damping)
        sums = (scratch.sums("entities", E), scratch.sums("step", N), ranking.sums_N)
        walked(history, odds, self._steps, BEAM, (*self._ways, to_delta), sums, scores_BM, ranking.into)
        if not scores_BM.shape[1]:
            return ranking.found
        scores_BM[scores_BM <= 0] = -np.inf
        scores_BM[:, space.trained_M >= 0] = -np.inf  # a replaced item has its trained row's score
        if allowed_R is not None:
            scores_BM[:, ~allowed_R[N:]] = -np.inf
        return merge(*ranking.found, *best(scores_BM, num, N + np.arange(scores_BM.shape[1])), num)

    def links_between(self, users: UserBatch, space: ItemSpace, rows: Sequence[int]) -> list[list[Link]]:
        """What led from the one user of the batch to each row in the first step, heaviest first; none to an item training never saw."""
        rows_1L, weight_1L = profile(users, space, self._decay)
        counts_L = (rows_1L[0] != PAD) & (weight_1L[0] > 0)
        past, place_L = np.unique(rows_1L[0, counts_L].astype(np.int64), return_inverse=True)
        mass_P = np.bincount(place_L, weight_1L[0, counts_L], len(past)).astype(np.float64)
        mass_P *= (1.0 - self._together) / max(float(mass_P.sum()), 1e-9)
        at_entity = (sparse.diags_array(mass_P.astype(np.float32)) @ self._to_entity_NE[past]).tocoo()
        current = past if space.current_N is None else space.current_N[past]
        from_rows, entities = current[at_entity.coords[0]], at_entity.coords[1]
        trained = space.trained_rows(np.asarray(rows, np.int32)).tolist()
        return [[] if row < 0 else self._links_to(row, from_rows, entities, at_entity.data) for row in trained]

    def _links_to(self, trained: int, from_rows: Int64Array, entities: Int64Array, masses: Float32Array) -> list[Link]:
        """masses: at each entity, from each row."""
        to_item_E = np.zeros(len(self._keys_E), np.float32)
        of_item = slice(*self._links_NE.indptr[trained : trained + 2].tolist())
        linked = self._links_NE.indices[of_item]
        to_item_E[linked] = self._links_NE.data[of_item] / np.maximum(self._mass_E[linked], 1e-9)
        scores = masses * to_item_E[entities]
        order = np.argsort(-scores, kind="stable")[: np.count_nonzero(scores)].tolist()
        return [Link(int(from_rows[p]), int(self._keys_E[entities[p]]), float(scores[p])) for p in order]


def link(keys: Sequence[Int64Array], keys_E: Int64Array, weight_E: Float32Array) -> sparse.csr_array:
    """CSR float32 [items, E]: the weights of the entities of each item that are among keys_E."""
    place = [np.searchsorted(keys_E, of_item) for of_item in keys]
    known = [
        p[keys_E[np.minimum(p, len(keys_E) - 1)] == k] if len(keys_E) else p[:0]
        for p, k in zip(place, keys, strict=True)
    ]
    entity = np.concatenate([*known, np.empty(0, np.int64)]).astype(np.int64)
    item = np.repeat(np.arange(len(keys)), [len(rows) for rows in known])
    return sparse.csr_array(sparse.coo_array((weight_E[entity], (item, entity)), shape=(len(keys), len(keys_E))))


def normalised_rows(matrix: sparse.csr_array) -> sparse.csr_array:
    """Rows that sum to 1, or 0 where there is nothing."""
    total = np.asarray(matrix.sum(1)).ravel()
    scale = np.divide(1.0, total, out=np.zeros_like(total), where=total > 0).astype(np.float32)
    return sparse.csr_array(sparse.diags_array(scale) @ matrix)
