"""Nearest item vectors to the user vector of the scenario asked for, moved by the scenario's item prior.

Shapes: B users, D dim, K candidates, N trained items, R rows of the space.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from app.features.users import UserBatch
from app.model.runner import TowerRunner
from app.retrieval.index import Neighbours, best
from app.retrieval.scenario_table import ScenarioTable
from app.retrieval.sources.lists import merge
from app.retrieval.space import ItemSpace
from app.types import BoolArray, Float32Array, Int64Array

DEEPER = 2  # times as many are looked up where a prior will reorder them


class TwoTowerSource:
    name = "two_tower"

    def __init__(self, runner: TowerRunner, table: ScenarioTable) -> None:
        self._runner = runner
        self._table = table

    def find(self, users: UserBatch, space: ItemSpace, num: int, allowed_R: BoolArray | None) -> Neighbours:
        return self.nearest(self.user_vectors(users, space), users.scenario_B, space, num, allowed_R)

    def user_vectors(self, users: UserBatch, space: ItemSpace) -> Float32Array:
        """[B, D], each by the tower that answers in the scenario asked for."""
        vectors_BD = np.zeros((len(users), self._runner.dim), np.float32)
        towers = [self._table.towers.get(row) for row in users.scenario_B.tolist()]
        for own in dict.fromkeys(towers):
            places = np.flatnonzero([tower == own for tower in towers])
            part = users.take(places)
            scenario_BD = self._table.vectors_SD[part.scenario_B]
            vectors_BD[places] = self._runner.user_vectors(part, space.take(part.history_BL), scenario_BD, own)
        return vectors_BD

    def both(self, users: UserBatch, space: ItemSpace) -> Float32Array:
        """[2, B, D]: by the tower that answers in the scenario, and by the pooled one, in one batch. One pass where they are the same."""
        pooled_B = [self._is_pooled(row) for row in users.scenario_B.tolist()]
        if all(pooled_B):
            vectors_BD = self.user_vectors(users, space)
            return np.stack([vectors_BD, vectors_BD])
        twice = users.take(np.tile(np.arange(len(users)), 2))
        scenario_B = np.concatenate([users.scenario_B, np.zeros(len(users), np.int64)])
        return self.user_vectors(replace(twice, scenario_B=scenario_B), space).reshape(2, len(users), -1)

    def _is_pooled(self, row: int) -> bool:
        vectors_SD = self._table.vectors_SD
        return row == 0 or (row not in self._table.towers and np.array_equal(vectors_SD[row], vectors_SD[0]))

    def nearest(
        self,
        user_BD: Float32Array,
        scenario_B: Int64Array,
        space: ItemSpace,
        num: int,
        allowed_R: BoolArray | None,
        excluded: Sequence[Int64Array] | None = None,
    ) -> Neighbours:
        """excluded: per user, rows the caller will leave out; so many more are returned that num are left."""
        boosted = any(row in self._table.boosts for row in scenario_B.tolist())
        spare = max((len(rows) for rows in excluded), default=0) if excluded else 0
        N, wanted = len(space.index), (DEEPER * num if boosted else num) + spare
        rows, scores = space.index.search(user_BD, wanted, None if allowed_R is None else allowed_R[:N])
        if len(space.vectors_MD):
            delta_BM = user_BD @ space.vectors_MD.T
            if allowed_R is not None:
                delta_BM[:, ~allowed_R[N:]] = -np.inf
            found = best(delta_BM, wanted, N + np.arange(len(space.vectors_MD)))
            rows, scores = merge(rows, scores, *found, wanted)
        return self._boosted(rows, scores, scenario_B, space, num, excluded) if boosted else (rows, scores)

    def _boosted(
        self,
        rows_BK: Int64Array,
        scores_BK: Float32Array,
        scenario_B: Int64Array,
        space: ItemSpace,
        num: int,
        excluded: Sequence[Int64Array] | None,
    ) -> Neighbours:
        """The same candidates in the order of cosine plus prior; an item that training never saw has none. Without those excluded, so that
        the prior reorders as many for each user, whatever others exclude."""
        trained_BK = space.trained_rows(rows_BK.astype(np.int32))
        for b, row in enumerate(scenario_B.tolist()):
            if excluded:
                scores_BK[b, np.isin(rows_BK[b], excluded[b])] = -np.inf
            boost_N = self._table.boosts.get(row)
            if boost_N is not None:
                scores_BK[b, np.flatnonzero(scores_BK[b] > -np.inf)[DEEPER * num :]] = -np.inf
                known_K = trained_BK[b] >= 0
                scores_BK[b, known_K] += boost_N[trained_BK[b, known_K]]
        columns, scores_BK = best(scores_BK, num)
        rows_BK = np.where(columns < 0, -1, np.take_along_axis(rows_BK, np.maximum(columns, 0), 1))
        return rows_BK, scores_BK
