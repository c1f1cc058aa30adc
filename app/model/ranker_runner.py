"""The ranker's forward pass: two small products for a batch and compiled passes between them, a sixth of what torch takes for so
few rows.

The gates depend on the scenario alone, so they are folded into the weights once a scenario. Shapes: F features, C candidates, H heads,
E experts, W width, T tower, G scenario vector.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from app.compiled import compiled, reads, writes
from app.types import Float32Array

HEADS = ("click", "cart_add", "purchase")
CLIP = 5.0  # standard deviations that a feature may stand from its mean
MAX_FOLDED = 256  # scenarios whose folded weights are kept
Folded = tuple[Float32Array, Float32Array]


class RankerRunner:
    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """arrays: of `RankerNet.arrays`."""
        held = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
        self._mean_F, self._scale_F = held["mean"], held["scale"]
        self._scenario_DG = held["scenario_weight"]
        self._gate, self._gate_bias = held["gate_weight"], held["gate_bias"]
        self._tower_HWT, self._tower_bias_HT = held["tower"], held["tower_bias"]
        self._out_HT = held["out"]
        H, W, _ = self._tower_HWT.shape
        self._width, self._heads = W, H
        num_experts, of_task = len(held["experts_bias"]) // W, len(self._gate_bias) // H
        self._own = (num_experts - of_task) // (H - 1)
        self._shared = of_task - self._own
        self._first_XF = np.concatenate([held["experts_weight"], held["wide_weight"]])  # one product for both
        self._experts_bias, self._wide_bias = held["experts_bias"], held["wide_bias"]
        self._lean_H1 = held.get("lean", np.zeros(H - 1, np.float32))[:, None]
        self._folded: dict[bytes, Folded] = {}

    def logits(self, features_FC: Float32Array, scenario_G: Float32Array) -> Float32Array:
        """[H, C], finite: of p_click, p(cart | click), p(buy | click), the place in the list left out."""
        tower, bias_X = self._folded_for(scenario_G)
        features_FC = np.ascontiguousarray(features_FC, np.float32)
        x_FC = np.empty_like(features_FC)
        _normalise(x_FC, features_FC, self._mean_F, self._scale_F)
        first_XC = self._first_XF @ x_FC
        hidden_XC, out_HC = first_XC[: -self._heads], first_XC[-self._heads :]
        _rectify(hidden_XC, self._experts_bias)
        tower_XC = tower @ hidden_XC
        _rectify(tower_XC, bias_X)
        _add_heads(out_HC, tower_XC, self._out_HT, self._wide_bias)
        out_HC[1:] += self._lean_H1 * out_HC[0]
        return out_HC

    def gates(self, scenario_G: Float32Array) -> Float32Array:
        """[H, E of a task], rows sum to 1."""
        logits = self._gate @ np.tanh(self._scenario_DG @ scenario_G) + self._gate_bias
        logits_HE = logits.reshape(self._heads, -1)
        exp_HE = np.exp(logits_HE - logits_HE.max(1, keepdims=True))
        gates_HE: Float32Array = exp_HE / exp_HE.sum(1, keepdims=True)
        return gates_HE

    def _folded_for(self, scenario_G: Float32Array) -> Folded:
        """Weights [H · T, E · W] of all experts at once, and their bias [H · T]."""
        key = scenario_G.tobytes()
        found = self._folded.get(key)
        if found is None:
            found = self._fold(self.gates(scenario_G))
            if len(self._folded) >= MAX_FOLDED:
                self._folded.clear()
            self._folded[key] = found
        return found

    def _fold(self, gates_HE: Float32Array) -> Folded:
        T, W = self._out_HT.shape[1], self._width
        weights = np.zeros((self._heads, T, len(self._experts_bias)), np.float32)
        for head in range(self._heads):
            first = self._shared + head * self._own
            experts = [*range(self._shared), *range(first, first + self._own)]
            for place, expert in enumerate(experts):
                weights[head, :, expert * W : (expert + 1) * W] = gates_HE[head, place] * self._tower_HWT[head].T
        return weights.reshape(self._heads * T, -1), self._tower_bias_HT.ravel()


@compiled(types.void(writes("f4", 2), reads("f4", 2), reads("f4"), reads("f4")))
def _normalise(x_FC: Float32Array, features_FC: Float32Array, mean_F: Float32Array, scale_F: Float32Array) -> None:
    """Standard deviations from the mean, at most CLIP; NaN is the mean."""
    bound = np.float32(CLIP)
    for f in range(len(mean_F)):
        for c in range(features_FC.shape[1]):
            x = (features_FC[f, c] - mean_F[f]) * scale_F[f]
            x = bound if x > bound else x
            x = -bound if x < -bound else x
            x_FC[f, c] = x if x == x else np.float32(0.0)


@compiled(types.void(writes("f4", 2), reads("f4")))
def _rectify(hidden_XC: Float32Array, bias_X: Float32Array) -> None:
    for x in range(len(bias_X)):
        for c in range(hidden_XC.shape[1]):
            value = hidden_XC[x, c] + bias_X[x]
            hidden_XC[x, c] = value if value > 0 else np.float32(0.0)


@compiled(types.void(writes("f4", 2), reads("f4", 2), reads("f4", 2), reads("f4")))
def _add_heads(out_HC: Float32Array, tower_XC: Float32Array, out_HT: Float32Array, bias_H: Float32Array) -> None:
    """tower_XC: T rows of each head."""
    H, T = out_HT.shape
    for h in range(H):
        for c in range(out_HC.shape[1]):
            out_HC[h, c] += bias_H[h]
        for t in range(T):
            for c in range(out_HC.shape[1]):
                out_HC[h, c] += out_HT[h, t] * tower_XC[h * T + t, c]
