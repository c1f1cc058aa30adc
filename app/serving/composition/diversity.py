"""Difference inside a slate, as the log-determinant of the likeness of its items, maximised greedily.

Source: Chen, Zhang & Zhou, Fast Greedy MAP Inference for Determinantal Point Process, NeurIPS 2018, algorithm 1. The kernel is
(1 + cosine) / 2, as in its section 4, so that opposites are further apart than strangers. Shapes: C candidates, V vector size, K places.
"""

from __future__ import annotations

import numpy as np

from app.types import Float32Array

LEAST = 1e-6  # of a residual: what is already spanned by the slate adds nothing, and no log of 0


class Spread:
    """weight: of a nat of log-determinant. Cost: one product of [C, V] with a vector per place."""

    def __init__(self, vectors_CV: Float32Array, num: int, weight: float) -> None:
        C = len(vectors_CV)
        self._vectors_CV = np.hstack([np.ones((C, 1), np.float32), vectors_CV]) * np.float32(np.sqrt(0.5))
        self._basis_KC = np.zeros((num, C), np.float32)  # Cholesky rows of what is taken, for every candidate
        self._residual_C = np.ones(C, np.float32)
        self._weight = np.float32(weight)
        self._taken = 0

    def gain_C(self) -> Float32Array:
        """float32 [C]: what each candidate would add now, 0 or less."""
        gain_C: Float32Array = self._weight * np.log(np.maximum(self._residual_C, LEAST))
        return gain_C

    def take(self, candidate: int) -> None:
        basis = self._basis_KC[: self._taken]
        row_C = self._vectors_CV @ self._vectors_CV[candidate] - basis[:, candidate] @ basis
        row_C /= np.sqrt(max(self._residual_C[candidate], LEAST))
        self._residual_C -= row_C * row_C
        if self._taken < len(self._basis_KC):
            self._basis_KC[self._taken] = row_C
            self._taken += 1
