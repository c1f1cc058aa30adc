"""Matrix factorisation by the `implicit` library: iALS (Hu, Koren & Volinsky 2008) and BPR (Rendle et al. 2009).

Shapes: B users, N items, F factors.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from scipy import sparse
from threadpoolctl import threadpool_limits

from app.learning.dataset import Interactions
from app.learning.evaluation.peers.peer import Params, Scorer, Trials
from app.learning.evaluation.peers.profiles import liked, profiles
from app.learning.splits import Repeats
from app.types import Float32Array, Int64Array, Progress, no_progress

Steps = Mapping[str, tuple[float, ...]]
ALS_ITERATIONS, BPR_ITERATIONS = 15, 100


class Ials:
    """The user's factors are folded in from all of their events, whatever the kind."""

    name = "ials"
    is_stochastic = True
    is_personal = True
    start: ClassVar[Params] = {"factors": 64, "alpha": 10.0, "regularization": 1.0}
    steps: ClassVar[Steps] = {
        "alpha": (2.0, 10.0, 40.0), "regularization": (0.1, 1.0, 10.0, 50.0, 150.0), "factors": (32, 64, 128),
    }  # fmt: skip

    def search(self, trials: Trials) -> None:
        one_by_one(self, trials, self.steps)

    def fit(self, train: Interactions, params: Params, repeats: Repeats, seed: int, progress: Progress) -> Scorer:
        from implicit.als import AlternatingLeastSquares  # takes a while, and a retraining run needs none of it

        alpha = float(params["alpha"] or 0)
        with threadpool_limits(1, "blas"):
            model = AlternatingLeastSquares(
                factors=int(params["factors"] or 0), regularization=float(params["regularization"] or 0),
                iterations=ALS_ITERATIONS, use_gpu=False, num_threads=num_threads(), random_state=seed,
            )  # fmt: skip
            model.fit(_csr(liked(train) * alpha), show_progress=False)
        history_UN = _csr(profiles(train) * alpha)

        def score(users: Int64Array) -> Float32Array:
            with threadpool_limits(1, "blas"):
                user_BF = model.recalculate_user(users, history_UN[users])
            scores_BN: Float32Array = np.asarray(user_BF @ model.item_factors.T, np.float32)
            return scores_BN

        return score


class Bpr:
    name = "bpr"
    is_stochastic = True
    is_personal = True
    start: ClassVar[Params] = {"factors": 64, "learning_rate": 0.05, "regularization": 0.01}
    steps: ClassVar[Steps] = {
        "learning_rate": (0.02, 0.05, 0.1), "regularization": (0.001, 0.01, 0.03), "factors": (32, 64, 128),
    }  # fmt: skip

    def search(self, trials: Trials) -> None:
        one_by_one(self, trials, self.steps)

    def fit(self, train: Interactions, params: Params, repeats: Repeats, seed: int, progress: Progress) -> Scorer:
        from implicit.bpr import BayesianPersonalizedRanking

        with threadpool_limits(1, "blas"):
            model = BayesianPersonalizedRanking(
                factors=int(params["factors"] or 0), learning_rate=float(params["learning_rate"] or 0),
                regularization=float(params["regularization"] or 0), iterations=BPR_ITERATIONS, use_gpu=False,
                num_threads=num_threads(), random_state=seed,
            )  # fmt: skip
            model.fit(_csr(liked(train)), show_progress=False)

        def score(users: Int64Array) -> Float32Array:
            scores_BN: Float32Array = np.asarray(model.user_factors[users] @ model.item_factors.T, np.float32)
            return scores_BN

        return score


def one_by_one(family: Ials | Bpr, trials: Trials, steps: Steps) -> None:
    """The start, then one parameter after the other, each from the best so far."""
    best = family.start
    found = trials.record(best, family.fit(trials.train, best, trials.repeats, trials.seed, no_progress))
    for parameter, values in steps.items():
        for value in values:
            params = {**best, parameter: value}
            if params == best or not trials.has_time():
                continue
            score = trials.record(params, family.fit(trials.train, params, trials.repeats, trials.seed, no_progress))
            if score > found:
                found, best = score, params


def num_threads() -> int:
    """What this process was given: see `app.threads`."""
    return int(os.environ.get("OMP_NUM_THREADS") or 1)


def _csr(matrix: sparse.csr_array) -> sparse.csr_matrix:
    """The kind `implicit` takes: a matrix with 32-bit places."""
    made = sparse.csr_matrix(matrix, dtype=np.float32)
    made.indices, made.indptr = made.indices.astype(np.int32), made.indptr.astype(np.int32)
    return made
