"""Item-KNN: shrunk cosine of co-occurrence, pruned per candidate. Source: Deshpande & Karypis 2004.

Each *candidate* keeps its strongest history items. The textbook prunes the other way round (each history item keeps its
strongest candidates), which costs a third of NDCG@10 on online-retail.

Shapes: N items, B items of a block, K neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from app.learning.dataset import Interactions
from app.learning.evaluation.peers.peer import Params, Scorer, Trials
from app.learning.evaluation.peers.profiles import liked, profiles
from app.learning.splits import Repeats
from app.types import Float32Array, Int64Array, Progress

NEIGHBOURS = (20, 50, 100, 200)
SHRINKAGES = (0.0, 10.0, 50.0)  # events by which the cosine of a thin pair is pulled to zero
DECAYS = (1.0, 0.98, 0.95, 0.9, 0.8, 0.6)  # of the profile, per newer event
CELLS_PER_BLOCK = 16_000_000
DEFAULTS: Params = {"neighbours": 50, "shrinkage": 10.0, "decay": 1.0}


class ItemKnn:
    name = "item_knn"
    is_stochastic = False
    is_personal = True

    def search(self, trials: Trials) -> None:
        """One parameter after the other: shrinkage, neighbours, decay, then shrinkage once more."""
        best = dict(DEFAULTS)
        found = -1.0
        near: dict[float, Neighbourhood] = {}
        grid: tuple[tuple[str, tuple[float, ...]], ...] = (
            ("shrinkage", SHRINKAGES), ("neighbours", NEIGHBOURS), ("decay", DECAYS), ("shrinkage", SHRINKAGES),
        )  # fmt: skip
        tried: set[tuple[float | int | None, ...]] = set()
        for parameter, values in grid:
            for value in values:
                params = best | {parameter: value}
                if tuple(params.values()) in tried or not trials.has_time():
                    continue
                tried.add(tuple(params.values()))
                shrinkage = float(params["shrinkage"] or 0)
                if shrinkage not in near:
                    near[shrinkage] = neighbourhood(trials.train, shrinkage, max(NEIGHBOURS))
                score = trials.record(params, _scorer(trials.train, near[shrinkage], params))
                if score > found:
                    found, best = score, params

    def fit(self, train: Interactions, params: Params, repeats: Repeats, seed: int, progress: Progress) -> Scorer:
        shrinkage, neighbours = float(params["shrinkage"] or 0), int(params["neighbours"] or 0)
        return _scorer(train, neighbourhood(train, shrinkage, neighbours), params)


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """history_NK: the K history items nearest to each candidate, strongest first. value_NK: their shrunk cosine, 0: none."""

    history_NK: Int64Array
    value_NK: Float32Array

    def weights(self, num: int) -> sparse.csr_array:
        """CSR float32 [N, N], history item -> candidate, each candidate's `num` strongest."""
        N = len(self.value_NK)
        value_NK = self.value_NK[:, :num]
        candidate, place = np.nonzero(value_NK)
        entries = value_NK[candidate, place], (self.history_NK[candidate, place], candidate)
        return sparse.csr_array(entries, shape=(N, N))


def neighbourhood(train: Interactions, shrinkage: float, num: int) -> Neighbourhood:
    """Value of a pair with co common users: co / (|a| |b|) * co / (co + shrinkage). Memory: CELLS_PER_BLOCK at a time."""
    users_UN = liked(train)
    items_NU = sparse.csr_array(users_UN.T)
    N = items_NU.shape[0]
    K = min(num, N)
    norm_N = np.sqrt(np.maximum(np.asarray(users_UN.sum(0)).ravel(), 1.0)).astype(np.float32)
    history_NK, value_NK = np.zeros((N, K), np.int64), np.zeros((N, K), np.float32)
    block = max(1, CELLS_PER_BLOCK // max(N, 1))
    for start in range(0, N, block):
        co_BN = (items_NU[start : start + block] @ users_UN).toarray()
        each = np.arange(len(co_BN))
        co_BN[each, start + each] = 0.0
        with np.errstate(invalid="ignore"):
            value_BN = (
                co_BN / (norm_N[start : start + block, None] * norm_N) * np.nan_to_num(co_BN / (co_BN + shrinkage))
            )
        part = np.argpartition(-value_BN, K - 1, axis=1)[:, :K]
        order = np.argsort(-np.take_along_axis(value_BN, part, 1), axis=1, kind="stable")
        history_NK[start : start + block] = part = np.take_along_axis(part, order, 1)
        value_NK[start : start + block] = np.take_along_axis(value_BN, part, 1)
    return Neighbourhood(history_NK, value_NK)


def _scorer(train: Interactions, near: Neighbourhood, params: Params) -> Scorer:
    profiles_UN = profiles(train, float(params["decay"] or 0))
    weights_NN = near.weights(int(params["neighbours"] or 0))

    def score(users: Int64Array) -> Float32Array:
        scores_BN: Float32Array = (profiles_UN[users] @ weights_NN).toarray()
        return scores_BN

    return score
