"""The scenario item prior: how much likelier an item is chosen in a scenario than in the whole shop.

Shapes: E events, S scenarios, N items.
"""

from __future__ import annotations

import numpy as np

from app.learning.dataset import Interactions
from app.types import Float32Array

SHRINKAGE = 20.0  # expected events by which an item's ratio is pulled to one


def scenario_prior(data: Interactions, shrinkage: float = SHRINKAGE) -> Float32Array:
    """log((chosen in the scenario + k) / (expected there from the whole shop + k)), float32 [S, N].

    Zero for an item or a scenario without data, and in row 0, the whole shop.
    """
    S, N = len(data.scenarios), len(data.item_ids)
    cell_E = data.scenario_E.astype(np.int64) * N + data.item_E
    chosen_SN = np.bincount(cell_E, weights=data.is_target_E, minlength=S * N).reshape(S, N)
    share_N = chosen_SN.sum(0) / max(chosen_SN.sum(), 1.0)
    expected_SN = chosen_SN.sum(1, keepdims=True) * share_N
    prior_SN = np.log((chosen_SN + shrinkage) / (expected_SN + shrinkage))
    prior_SN[0] = 0.0
    result: Float32Array = prior_SN.astype(np.float32)
    return result
