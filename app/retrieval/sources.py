"""Candidate sources: each proposes rows of the item space for a batch of users, best first.

Every source honours `allowed_R` before its cut. Shapes: B users, K candidates, N trained items, R rows of the space, S scenarios,
L history, D dim.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from scipy import sparse

from app.features.users import KINDS, NUM_KINDS, PAD, UserBatch
from app.feedback.event import EVENT_WEIGHTS
from app.model.runner import TowerRunner
from app.retrieval.index import Neighbours, best
from app.retrieval.space import ItemSpace
from app.types import BoolArray, Float32Array, Int64Array

SOURCE_NAMES = ("two_tower", "item_cf", "popular", "new")

# Of what is being looked at, against all of the past, in the item_cf profile. Next click on the sample shop, NDCG@10 at shares
# .02 / .33 / .67: similar .263 / .306 / .305, complements .229 / .248 / .237. The user tower needs no such help: it attends.
CONTEXT_SHARE = 0.33
# What an event in the history counts in a linear profile, by KINDS row. Kinds of liking count alike, because the item weights
# were fitted on ones: weighing a purchase three times a click cost 1-5 % of NDCG@10 on the sample shop, by ridge.
KIND_WEIGHTS: Float32Array = np.ones(NUM_KINDS, np.float32)
for _name, _row in KINDS.items():
    KIND_WEIGHTS[_row] = min(EVENT_WEIGHTS.get(_name, 1.0), 1.0)


class CandidateSource(Protocol):
    name: str

    def find(self, users: UserBatch, space: ItemSpace, num: int, allowed_R: BoolArray | None) -> Neighbours:
        """rows int64 [B, K] with -1 tail and scores float32 [B, K] with -inf tail; K <= num. Rows of the space."""


class TwoTowerSource:
    """Nearest item vectors to the user vector of the scenario asked for."""

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


class ItemCfSource:
    """Items that the same shoppers chose: a linear item-item model on a recency-decayed profile.

    similarity_NN: CSR, history item -> candidate, the strongest of each candidate. decay: weight of an event against the next
    newer one. Which weights (cosine or EASE) and which decay, `learning.fit` chooses on validation.
    """

    name = "item_cf"

    def __init__(self, similarity_NN: sparse.csr_array, decay: float) -> None:
        self.similarity_NN = similarity_NN
        self.decay = decay

    def find(self, users: UserBatch, space: ItemSpace, num: int, allowed_R: BoolArray | None) -> Neighbours:
        scores_BN = (self._profile(users, space) @ self.similarity_NN).toarray()
        scores_BN[scores_BN <= 0] = -np.inf
        if allowed_R is not None:
            current_N = space.current_N
            scores_BN[:, ~(allowed_R[: len(space.index)] if current_N is None else allowed_R[current_N])] = -np.inf
        return best(scores_BN, num, space.current_N)

    def _profile(self, users: UserBatch, space: ItemSpace) -> sparse.csr_array:
        rows_BL = space.trained_rows(users.history_BL)
        lengths_B1 = (users.history_BL != PAD).sum(1, keepdims=True)
        newer_BL = lengths_B1 - 1 - np.arange(rows_BL.shape[1])
        weight_BL = np.where(rows_BL != PAD, self.decay ** np.maximum(newer_BL, 0), 0.0) * KIND_WEIGHTS[users.kinds_BL]
        weight_BL = share_with_context(weight_BL, users)
        b, entry = np.nonzero(weight_BL > 0)
        shape = (len(users), self.similarity_NN.shape[0])
        profile = sparse.coo_array((weight_BL[b, entry].astype(np.float32), (b, rows_BL[b, entry])), shape=shape)
        return sparse.csr_array(profile)


class PopularSource:
    """What the scenario's shoppers chose lately. popularity_SN: decayed counts shrunk to the whole shop's; row 0 is the shop."""

    name = "popular"

    def __init__(self, popularity_SN: Float32Array) -> None:
        self.popularity_SN = popularity_SN
        self._order_SN = np.argsort(-popularity_SN, axis=1, kind="stable")

    def find(self, users: UserBatch, space: ItemSpace, num: int, allowed_R: BoolArray | None) -> Neighbours:
        known_S = np.where(users.scenario_B < len(self.popularity_SN), users.scenario_B, 0)
        lists = {row: self._top(row, space, num, allowed_R) for row in set(known_S.tolist())}
        return stack([lists[row] for row in known_S.tolist()])

    def _top(
        self, scenario: int, space: ItemSpace, num: int, allowed_R: BoolArray | None
    ) -> tuple[Int64Array, Float32Array]:
        trained = self._order_SN[scenario]
        rows = trained if space.current_N is None else space.current_N[trained]
        if allowed_R is not None:
            kept = allowed_R[rows]
            rows, trained = rows[kept], trained[kept]
        scores = self.popularity_SN[scenario, trained[:num]]
        return rows[:num][scores > 0].astype(np.int64), scores[scores > 0]


class NewSource:
    """Newest first, by publication."""

    name = "new"

    def find(self, users: UserBatch, space: ItemSpace, num: int, allowed_R: BoolArray | None) -> Neighbours:
        rows = space.newest_R if allowed_R is None else space.newest_R[allowed_R[space.newest_R]]
        rows = rows[:num]
        published = space.published_R[rows]
        known = np.isfinite(published)
        return stack([(rows[known].astype(np.int64), published[known].astype(np.float32))] * len(users))


def share_with_context(weight_BL: Float32Array, users: UserBatch) -> Float32Array:
    """Weights of the history scaled so that the context items have CONTEXT_SHARE of the sum, where there are any."""
    context_BL = users.kinds_BL == KINDS["context"]
    context_B1 = np.where(context_BL, weight_BL, 0.0).sum(1, keepdims=True)
    past_B1 = np.where(context_BL, 0.0, weight_BL).sum(1, keepdims=True)
    wanted_B1 = context_B1 * (1 - CONTEXT_SHARE) / CONTEXT_SHARE
    scale_B1 = np.where((context_B1 > 0) & (past_B1 > 0), wanted_B1 / np.maximum(past_B1, 1e-9), 1.0)
    return np.where(context_BL, weight_BL, weight_BL * scale_B1)


def merge(
    rows_a: Int64Array, scores_a: Float32Array, rows_b: Int64Array, scores_b: Float32Array, num: int
) -> Neighbours:
    """Two lists per user as one; scores must be comparable and the rows disjoint."""
    rows, scores = np.concatenate([rows_a, rows_b], 1), np.concatenate([scores_a, scores_b], 1)
    columns, scores = best(scores, num)
    return np.where(columns < 0, -1, np.take_along_axis(rows, np.maximum(columns, 0), 1)), scores


def stack(lists: list[tuple[Int64Array, Float32Array]]) -> Neighbours:
    """Lists of different lengths as one padded pair of arrays."""
    K = max((len(rows) for rows, _ in lists), default=0)
    rows_BK, scores_BK = np.full((len(lists), K), -1, np.int64), np.full((len(lists), K), -np.inf, np.float32)
    for b, (rows, scores) in enumerate(lists):
        rows_BK[b, : len(rows)], scores_BK[b, : len(rows)] = rows, scores
    return rows_BK, scores_BK
