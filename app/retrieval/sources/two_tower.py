"""Nearest item vectors to the user vector of the scenario asked for."""

from __future__ import annotations

import numpy as np

from app.features.users import UserBatch
from app.model.runner import TowerRunner
from app.retrieval.index import Neighbours, best
from app.retrieval.sources.lists import merge
from app.retrieval.space import ItemSpace
from app.types import BoolArray, Float32Array


class TwoTowerSource:
    name = "two_tower"

    def __init__(self, runner: TowerRunner, scenario_SD: Float32Array) -> None:
        self._runner = runner
        self._scenario_SD = scenario_SD

    def find(self, users: UserBatch, space: ItemSpace, num: int, allowed_R: BoolArray | None) -> Neighbours:
        user_BD = self._runner.user_vectors(users, space.take(users.history_BL), self._scenario_SD[users.scenario_B])
        N = len(space.index)
        rows, scores = space.index.search(user_BD, num, None if allowed_R is None else allowed_R[:N])
        if not len(space.vectors_MD):
            return rows, scores
        delta_BM = user_BD @ space.vectors_MD.T
        if allowed_R is not None:
            delta_BM[:, ~allowed_R[N:]] = -np.inf
        return merge(rows, scores, *best(delta_BM, num, N + np.arange(len(space.vectors_MD))), num)
