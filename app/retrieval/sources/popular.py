"""What the scenario's shoppers chose lately. Shapes: S scenarios, N trained items."""

from __future__ import annotations

import numpy as np

from app.features.users import UserBatch
from app.retrieval.index import Neighbours
from app.retrieval.sources.lists import stack
from app.retrieval.sources.source import Fitted
from app.retrieval.space import ItemSpace
from app.types import BoolArray, Float32Array, Int64Array


class PopularSource:
    """popularity: [S, N], decayed shares of the events, shrunk to the whole shop's; row 0 is the shop."""

    name = "popular"

    def __init__(self, fitted: Fitted) -> None:
        self._popularity_SN: Float32Array = fitted.arrays["popularity"]
        self._order_SN = np.argsort(-self._popularity_SN, axis=1, kind="stable")

    def find(self, users: UserBatch, space: ItemSpace, num: int, allowed_R: BoolArray | None) -> Neighbours:
        known_B = np.where(users.scenario_B < len(self._popularity_SN), users.scenario_B, 0)
        lists = {row: self._top(row, space, num, allowed_R) for row in set(known_B.tolist())}
        return stack([lists[row] for row in known_B.tolist()])

    def _top(
        self, scenario: int, space: ItemSpace, num: int, allowed_R: BoolArray | None
    ) -> tuple[Int64Array, Float32Array]:
        trained = self._order_SN[scenario]
        rows = trained if space.current_N is None else space.current_N[trained]
        if allowed_R is not None:
            kept = allowed_R[rows]
            rows, trained = rows[kept], trained[kept]
        scores = self._popularity_SN[scenario, trained[:num]]
        return rows[:num][scores > 0].astype(np.int64), scores[scores > 0]
