"""What is bought along with the items at hand, more often than chance would have it. Things that are looked at together and never
bought together (substitutes) have no weight here.

Shapes: B users, L history, N trained items.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from app.features.users import KINDS, PAD, UserBatch
from app.retrieval.index import Neighbours
from app.retrieval.sources.lists import rank_sparse
from app.retrieval.sources.profile import halved
from app.retrieval.sources.source import Fitted
from app.retrieval.space import ItemSpace
from app.types import BoolArray, Float32Array


class ComplementsSource:
    """weights: CSR [N, N], item at hand -> complement, see `learning.sources.complements`. kinds: rows of KINDS that are buying.

    At hand are the context items; where there are none, what was bought or put into the cart lately: `decay` to the power of the
    newer ones, halved every half_life_days.
    """

    name = "complements"

    def __init__(self, fitted: Fitted) -> None:
        self._weights_NN = fitted.csr("weights")
        self._kinds = np.asarray(fitted.arrays["kinds"])
        self._decay, self._half_life_days = fitted.number("decay"), fitted.number("half_life_days")

    def find(self, users: UserBatch, space: ItemSpace, num: int, allowed_R: BoolArray | None) -> Neighbours:
        rows_BL = space.trained_rows(users.history_BL)
        weight_BL = np.where(rows_BL != PAD, self._at_hand(users), 0.0)
        b, entry = np.nonzero(weight_BL > 0)
        shape = (len(users), len(space.index))
        at_hand_BN = sparse.csr_array(sparse.coo_array((weight_BL[b, entry], (b, rows_BL[b, entry])), shape=shape))
        return rank_sparse(at_hand_BN @ self._weights_NN, space, num, allowed_R)

    def _at_hand(self, users: UserBatch) -> Float32Array:
        """Weight of each entry of the history [B, L]."""
        context_BL = users.kinds_BL == KINDS["context"]
        bought_BL = np.isin(users.kinds_BL, self._kinds) & (users.history_BL != PAD)
        newer_BL = np.cumsum(bought_BL[:, ::-1], 1)[:, ::-1] - bought_BL
        lately_BL = np.where(bought_BL, self._decay**newer_BL * halved(users, self._half_life_days), 0.0)
        weight_BL: Float32Array = np.where(context_BL.any(1, keepdims=True), context_BL, lately_BL).astype(np.float32)
        return weight_BL
