"""What is bought along with the items at hand, more often than chance would have it. Things that are looked at together and never
bought together (substitutes) have no weight here.

Shapes: N trained items.
"""

from __future__ import annotations

import numpy as np

from app.features.users import NUM_KINDS, UserBatch
from app.retrieval.index import Neighbours
from app.retrieval.sources.lists import Ranking
from app.retrieval.sources.profile import at_hand
from app.retrieval.sources.source import Fitted
from app.retrieval.sources.walks import led_to, matrix_of
from app.retrieval.space import ItemSpace
from app.types import BoolArray


class ComplementsSource:
    """weights: CSR [N, N], item at hand -> complement, see `learning.sources.complements`. kinds: rows of KINDS that are buying.

    At hand are the context items; where there are none, what was bought or put into the cart lately: `decay` to the power of the
    newer ones, halved every half_life_days.
    """

    name = "complements"

    def __init__(self, fitted: Fitted) -> None:
        self._weights_NN = matrix_of(fitted.csr("weights"))
        self._counts_K = np.isin(np.arange(NUM_KINDS), fitted.arrays["kinds"])
        self._decay, self._half_life_days = fitted.number("decay"), fitted.number("half_life_days")

    def find(self, users: UserBatch, space: ItemSpace, num: int, allowed_R: BoolArray | None) -> Neighbours:
        rows_BL = np.ascontiguousarray(space.trained_rows(users.history_BL), np.int32)
        weight_BL = at_hand(users, self._counts_K, self._decay, self._half_life_days)
        ranking = Ranking(len(users), space, num, allowed_R)
        led_to((rows_BL, weight_BL), self._weights_NN, ranking.sums_N, ranking.into)
        return ranking.found
