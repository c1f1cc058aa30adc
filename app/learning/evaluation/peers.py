"""Baselines behind one interface: fit on the past, rank the catalogue for the judged users.

Shapes: U users, K list length, N items.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from scipy import sparse

from app.learning.item_similarity import item_similarity
from app.learning.popularity import popularity
from app.learning.splits import Repeats, Split
from app.retrieval.index import best
from app.types import Float32Array, Int64Array

BATCH = 512


class Peer(Protocol):
    def __call__(self, split: Split, num: int, repeats: Repeats) -> Int64Array:
        """Rows int64 [U, num] for `split.users`, -1 where the list is shorter."""


def by_popularity(half_life_days: float) -> Peer:
    """The same list for everyone, without what the user already had. inf: all events weigh the same."""

    def peer(split: Split, num: int, repeats: Repeats) -> Int64Array:
        shop_N = popularity(split.train, half_life_days)[0]
        return _rank(split, num, repeats, lambda users: np.tile(shop_N, (len(users), 1)))

    return peer


def item_cf(split: Split, num: int, repeats: Repeats) -> Int64Array:
    """Item-KNN: shrunk cosine, every event of the user weighs the same. Deshpande & Karypis 2004."""
    similarity_NN = item_similarity(split.train)
    profiles_UN = _profiles(split)
    return _rank(split, num, repeats, lambda users: (profiles_UN[users] @ similarity_NN).toarray())


PEERS: dict[str, Peer] = {
    "popularity": by_popularity(float("inf")),
    "recent_popularity": by_popularity(7.0),
    "item_cf": item_cf,
}


def _profiles(split: Split) -> sparse.csr_array:
    train = split.train
    shape = (len(train.user_ids), len(train.item_ids))
    ones = np.ones(len(train), np.float32)
    profiles = sparse.csr_array((ones, (train.user_E, train.item_E)), shape=shape)
    profiles.sum_duplicates()
    profiles.data[:] = 1.0
    return profiles


def _rank(split: Split, num: int, repeats: Repeats, score: Callable[[Int64Array], Float32Array]) -> Int64Array:
    train = split.train
    unknown_N = np.bincount(train.item_E, minlength=len(train.item_ids)) == 0
    topk_UK = np.full((len(split.users), num), -1, np.int64)
    for start in range(0, len(split.users), BATCH):
        users = split.users[start : start + BATCH]
        scores_BN = score(users).astype(np.float32)
        scores_BN[:, unknown_N] = -np.inf
        if repeats == "exclude":
            for b, user in enumerate(users.tolist()):
                scores_BN[b, train.item_E[train.of(user)]] = -np.inf
        rows = best(scores_BN, num)[0]
        topk_UK[start : start + len(users), : rows.shape[1]] = rows
    return topk_UK
