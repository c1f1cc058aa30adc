"""Items that the same shoppers chose: a linear item-item model on a recency-decayed profile."""

from __future__ import annotations

from app.features.users import UserBatch
from app.retrieval.index import Neighbours
from app.retrieval.sources.lists import Ranking
from app.retrieval.sources.profile import FOREVER, profile
from app.retrieval.sources.source import Fitted
from app.retrieval.sources.walks import led_to, matrix_of
from app.retrieval.space import ItemSpace
from app.types import BoolArray


class ItemCfSource:
    """weights: CSR [N, N], history item -> candidate, the strongest of each candidate. decay: weight of an event against the
    next newer one. half_life_days: in which time takes half of it. `learning.sources.item_cf` chooses them on validation."""

    name = "item_cf"

    def __init__(self, fitted: Fitted) -> None:
        self._weights_NN = matrix_of(fitted.csr("weights"))
        self._decay = fitted.number("decay")
        self._half_life_days = fitted.number("half_life_days", FOREVER)

    def find(self, users: UserBatch, space: ItemSpace, num: int, allowed_R: BoolArray | None) -> Neighbours:
        ranking = Ranking(len(users), space, num, allowed_R)
        history = profile(users, space, self._decay, self._half_life_days)
        led_to(history, self._weights_NN, ranking.sums_N, ranking.into)
        return ranking.found
