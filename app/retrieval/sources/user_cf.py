"""What the shoppers chose whose past is most like the asking one's. The asking shopper needs no row of their own: the neighbours are
found by the live history, so events after training count at once.

Shapes: B users, N trained items, U shoppers of the training log that may be neighbours.
"""

from __future__ import annotations

import numpy as np

from app.features.users import UserBatch
from app.retrieval import scratch
from app.retrieval.index import Neighbours
from app.retrieval.sources.lists import Ranking
from app.retrieval.sources.profile import profile
from app.retrieval.sources.source import Fitted
from app.retrieval.sources.walks import matrix_of, voted
from app.retrieval.space import ItemSpace
from app.types import BoolArray


class UserCfSource:
    """postings: CSR [N, U], the newest shoppers of each item. chosen: CSR [U, N], what they chose. counts: [N], shoppers of an item.

    likeness(u) = sum over the profile's items u chose of weight · idf^rarity, divided by |u|^norm; the `neighbours` most like ones
    vote with it for what they chose, a popular item counting less by 1 / count^damping.
    Source: user-based nearest neighbours over an index of bounded lists, as in VMIS-kNN (Kersbergen et al. 2022).
    """

    name = "user_cf"

    def __init__(self, fitted: Fitted) -> None:
        chosen_UN = fitted.csr("chosen")
        self._postings_NU, self._chosen_UN = matrix_of(fitted.csr("postings")), matrix_of(chosen_UN)
        counts_N = np.asarray(fitted.arrays["counts"])
        self._num_users, self._neighbours = chosen_UN.shape[0], int(fitted.number("neighbours"))
        idf_N = np.log1p(self._num_users / np.maximum(counts_N, 1.0))
        self._rarity_N = (idf_N ** fitted.number("rarity")).astype(np.float32)
        size_U = np.maximum(np.diff(chosen_UN.indptr), 1)
        self._norm_U = (1.0 / size_U ** fitted.number("norm")).astype(np.float32)
        self._damping_N = (1.0 / np.maximum(counts_N, 1.0) ** fitted.number("damping")).astype(np.float32)
        self._decay, self._half_life_days = fitted.number("decay"), fitted.number("half_life_days")

    def find(self, users: UserBatch, space: ItemSpace, num: int, allowed_R: BoolArray | None) -> Neighbours:
        ranking = Ranking(len(users), space, num, allowed_R, working_rows=self._num_users)
        history = profile(users, space, self._decay, self._half_life_days)
        sums = (scratch.sums("shoppers", self._num_users), ranking.sums_N)
        voted(
            history, self._rarity_N, self._postings_NU, self._norm_U, self._neighbours, self._chosen_UN, self._damping_N, sums,
            ranking.into,
        )  # fmt: skip
        return ranking.found
