"""What the scenario's shoppers chose lately. Shapes: S scenarios, N trained items."""

from __future__ import annotations

import numpy as np

from app.features.users import UserBatch
from app.retrieval.index import Neighbours
from app.retrieval.sources.lists import first_allowed, stack
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
        order_N = self._order_SN[scenario]
        rows_N = order_N if space.current_N is None else space.current_N[order_N]
        best = first_allowed(rows_N, allowed_R, num)
        scores = self._popularity_SN[scenario, order_N[best]]
        return rows_N[best][scores > 0].astype(np.int64), scores[scores > 0]
