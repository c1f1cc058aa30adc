"""What the shoppers chose whose past is most like the asking one's. The asking shopper needs no row of their own: the neighbours are
found by the live history, so events after training count at once.

Shapes: B users, N trained items, U shoppers of the training log that may be neighbours.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from app.features.users import UserBatch
from app.retrieval.index import Neighbours
from app.retrieval.sources.lists import rank_sparse, strongest
from app.retrieval.sources.profile import profile
from app.retrieval.sources.source import Fitted
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
        self._postings_NU = fitted.csr("postings")
        self._chosen_UN = fitted.csr("chosen")
        counts_N = np.asarray(fitted.arrays["counts"])
        num_users, self._neighbours = self._chosen_UN.shape[0], int(fitted.number("neighbours"))
        idf_N = np.log1p(num_users / np.maximum(counts_N, 1.0))
        self._rarity_N = (idf_N ** fitted.number("rarity")).astype(np.float32)
        self._rarity_NN = sparse.diags_array(self._rarity_N)
        size_U = np.maximum(np.diff(self._chosen_UN.indptr), 1)
        self._norm_U = (1.0 / size_U ** fitted.number("norm")).astype(np.float32)
        self._damping_N = (1.0 / np.maximum(counts_N, 1.0) ** fitted.number("damping")).astype(np.float32)
        self._decay, self._half_life_days = fitted.number("decay"), fitted.number("half_life_days")

    def find(self, users: UserBatch, space: ItemSpace, num: int, allowed_R: BoolArray | None) -> Neighbours:
        past_BN = sparse.csr_array(profile(users, space, self._decay, self._half_life_days) @ self._rarity_NN)
        likeness_BU = sparse.csr_array(past_BN @ self._postings_NU)
        likeness_BU.data *= self._norm_U[likeness_BU.indices]
        scores_BN = sparse.csr_array(strongest(likeness_BU, self._neighbours) @ self._chosen_UN)
        scores_BN.data *= self._damping_N[scores_BN.indices]
        return rank_sparse(scores_BN, space, num, allowed_R)
