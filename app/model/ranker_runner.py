"""The ranker's forward pass in numpy: three small products for a request, a quarter of what torch takes for so few rows.

The gates depend on the scenario alone, so they are folded into the weights once a scenario. Shapes: F features, C candidates, H heads,
E experts, W width, T tower, G scenario vector.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.types import Float32Array

CLIP = 5.0  # as in `ranker`
MAX_FOLDED = 256  # scenarios whose folded weights are kept
Folded = tuple[Float32Array, Float32Array]


class RankerRunner:
    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """arrays: of `RankerNet.arrays`."""
        held = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
        self._mean_F1, self._scale_F1 = held["mean"][:, None], held["scale"][:, None]
        self._scenario_DG = held["scenario_weight"]
        self._gate, self._gate_bias = held["gate_weight"], held["gate_bias"]
        self._tower_HWT, self._tower_bias_HT = held["tower"], held["tower_bias"]
        self._out_HT = held["out"]
        H, W, _ = self._tower_HWT.shape
        self._width, self._heads = W, H
        num_experts, of_task = len(held["experts_bias"]) // W, len(self._gate_bias) // H
        self._own = (num_experts - of_task) // (H - 1)
        self._shared = of_task - self._own
        self._experts, self._experts_bias = held["experts_weight"], held["experts_bias"][:, None]
        self._wide, self._wide_bias = held["wide_weight"], held["wide_bias"][:, None]
        self._folded: dict[bytes, Folded] = {}

    def logits(self, features_FC: Float32Array, scenario_G: Float32Array) -> Float32Array:
        """[H, C], finite: of p_click, p(cart | click), p(buy | click), the place in the list left out."""
        tower, bias_X1 = self._folded_for(scenario_G)
        x_FC = features_FC - self._mean_F1
        x_FC *= self._scale_F1
        np.clip(x_FC, -CLIP, CLIP, out=x_FC)
        np.copyto(x_FC, 0.0, where=np.isnan(x_FC))
        hidden_XC = self._experts @ x_FC
        hidden_XC += self._experts_bias
        np.maximum(hidden_XC, 0.0, out=hidden_XC)
        tower_XC = tower @ hidden_XC
        tower_XC += bias_X1
        np.maximum(tower_XC, 0.0, out=tower_XC)
        tower_HTC = tower_XC.reshape(self._heads, -1, features_FC.shape[1])
        out_HC: Float32Array = np.matmul(self._out_HT[:, None], tower_HTC)[:, 0]
        out_HC += self._wide @ x_FC
        out_HC += self._wide_bias
        return out_HC

    def gates(self, scenario_G: Float32Array) -> Float32Array:
        """[H, E of a task], rows sum to 1."""
        logits = self._gate @ np.tanh(self._scenario_DG @ scenario_G) + self._gate_bias
        logits_HE = logits.reshape(self._heads, -1)
        exp_HE = np.exp(logits_HE - logits_HE.max(1, keepdims=True))
        gates_HE: Float32Array = exp_HE / exp_HE.sum(1, keepdims=True)
        return gates_HE

    def _folded_for(self, scenario_G: Float32Array) -> Folded:
        """Weights [H · T, E · W] of all experts at once, and their bias [H · T, 1]."""
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
        return weights.reshape(self._heads * T, -1), self._tower_bias_HT.reshape(-1, 1)
