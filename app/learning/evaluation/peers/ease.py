"""EASE, and EASE on a recency-decayed profile. Source: Steck 2019, eq. 8.

Shapes: B users, N items, M items with training events.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from app.learning.dataset import Interactions
from app.learning.evaluation.peers.peer import Params, Scorer, Skipped, Trials
from app.learning.evaluation.peers.profiles import liked, profiles
from app.learning.splits import Repeats
from app.types import Float32Array, Int64Array, Progress

RIDGES = (300.0, 100.0, 1_000.0, 30.0, 3_000.0)
DECAYS = (1.0, 0.98, 0.95, 0.9, 0.8, 0.7)  # of the profile, per newer event
MAX_ITEMS = (
    15_000  # one inverse: about 2 minutes of a core and 2 GB at 12,000 items, growing with the cube and the square
)
FEW_ITEMS = 6_000  # above, the two outermost ridges are left out


class Ease:
    name = "ease"
    is_stochastic = False
    is_personal = True

    def search(self, trials: Trials) -> None:
        known = _known(trials.train)
        for ridge in RIDGES if len(known) <= FEW_ITEMS else RIDGES[:3]:
            if not trials.has_time():
                return
            weights_MM = weights(trials.train, known, ridge)
            for decay in DECAYS:
                trials.record({"ridge": ridge, "decay": decay}, _scorer(trials.train, known, weights_MM, decay))

    def fit(self, train: Interactions, params: Params, repeats: Repeats, seed: int, progress: Progress) -> Scorer:
        known = _known(train)
        return _scorer(train, known, weights(train, known, float(params["ridge"] or 0)), float(params["decay"] or 0))


def weights(train: Interactions, known: Int64Array, ridge: float) -> Float32Array:
    """B = I - P / diag(P) with P = (X'X + ridge I)^-1: float32 [M, M], history item -> candidate, zero diagonal."""
    users_UM = liked(train)[:, known]
    matrix_MM: NDArray[np.float32] = np.asfortranarray((users_UM.T @ users_UM).toarray(), np.float32)
    matrix_MM[np.diag_indices_from(matrix_MM)] += ridge
    factor_MM, failed = linalg.lapack.spotrf(matrix_MM, lower=1, overwrite_a=1)
    if not failed:
        factor_MM, failed = linalg.lapack.spotri(factor_MM, lower=1, overwrite_c=1)
    if failed:
        raise Skipped(f"X'X + {ridge:g} I could not be inverted (LAPACK info {failed})")
    lower_MM: Float32Array = np.tril(factor_MM, -1)
    diagonal_M = np.diag(factor_MM).copy()
    lower_MM += lower_MM.T
    lower_MM /= -diagonal_M
    return lower_MM


def _known(train: Interactions) -> Int64Array:
    known = np.flatnonzero(train.item_counts_N)
    if len(known) > MAX_ITEMS:
        raise Skipped(
            f"{len(known):,} items with events: EASE inverts an items x items matrix, done up to {MAX_ITEMS:,}"
        )
    return known


def _scorer(train: Interactions, known: Int64Array, weights_MM: Float32Array, decay: float) -> Scorer:
    profiles_UM = profiles(train, decay)[:, known]
    N = len(train.item_ids)

    def score(users: Int64Array) -> Float32Array:
        scores_BN = np.full((len(users), N), -np.inf, np.float32)
        scores_BN[:, known] = profiles_UM[users] @ weights_MM
        return scores_BN

    return score
