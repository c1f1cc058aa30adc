"""Decayed popularity by scenario for the popular source. Shapes: E events, S scenarios, N items."""

from __future__ import annotations

import numpy as np

from app.learning.dataset import Interactions
from app.types import Float32Array

SHRINKAGE = 200.0  # events by which a scenario's own popularity is pulled to the whole shop's


def popularity(data: Interactions, half_life_days: float, shrinkage: float = SHRINKAGE) -> Float32Array:
    """Share of decayed event weight per item, float32 [S, N]; row 0 is the whole shop. half_life_days may be inf.

    shrinkage: events by which a scenario is pulled to the shop.
    """
    S, N = len(data.scenarios), len(data.item_ids)
    newest = data.at_E.max() if len(data) else 0.0
    age_days_E = (newest - data.at_E) / 86_400.0
    weight_E = np.where(data.is_target_E, data.weight_E, 0.0) * 0.5 ** (age_days_E / half_life_days)
    cell_E = data.scenario_E.astype(np.int64) * N + data.item_E
    counts_SN = np.bincount(cell_E, weights=weight_E, minlength=S * N).reshape(S, N)
    shop_N = counts_SN.sum(0) / max(counts_SN.sum(), 1e-12)
    shares_SN = (counts_SN + shrinkage * shop_N) / (counts_SN.sum(1, keepdims=True) + shrinkage)
    shares_SN[0] = shop_N
    result: Float32Array = shares_SN.astype(np.float32)
    return result
