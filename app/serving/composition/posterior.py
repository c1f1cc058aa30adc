"""What is believed of an item that was shown too seldom to be sure: its neighbours in words say what to expect, its own few
impressions correct them.

Shapes: C candidates, E uncertain ones among them, P text dim, X points of the grid.
"""

from __future__ import annotations

import numpy as np
from scipy.special import betainc

from app.types import Float32Array, Int64Array

PRIOR_IMPRESSIONS = 10.0  # what the neighbours' word counts, in impressions of the item itself
CROWD_IMPRESSIONS = 20.0  # what the average of all candidates counts beside the neighbours
CLOSENESS = 4  # power of the cosine: a neighbour at .5 counts a sixteenth of a twin
NUM_POINTS = 96
EMPTY_RATE = 0.05  # with nothing shown yet


def neighbour_rates(
    text_CP: Float32Array, shown_C: Float32Array, acted_C: Float32Array, uncertain_E: Int64Array
) -> Float32Array:
    """Expected share of impressions acted on, 0-1, before the item's own are looked at: float [E]."""
    crowd = (acted_C.sum() + EMPTY_RATE * CROWD_IMPRESSIONS) / (shown_C.sum() + CROWD_IMPRESSIONS)
    near_EC = np.maximum(text_CP[uncertain_E] @ text_CP.T, 0.0) ** CLOSENESS
    near_EC[np.arange(len(uncertain_E)), uncertain_E] = 0.0
    rate_E: Float32Array = (near_EC @ acted_C + CROWD_IMPRESSIONS * crowd) / (near_EC @ shown_C + CROWD_IMPRESSIONS)
    return np.clip(rate_E, 1e-4, 1 - 1e-4)


def chances_of_best(rate_E: Float32Array, shown_E: Float32Array, acted_E: Float32Array) -> Float32Array:
    """Probability that each item is the best of all, if each has a Beta posterior: what Thompson sampling draws with, float [E], sum 1.

    By integration, P(i best) = ∫ f_i(x) Π_{j≠i} F_j(x) dx, not by drawing, because a propensity must be known.
    """
    a_E1 = (PRIOR_IMPRESSIONS * rate_E + acted_E)[:, None].astype(np.float64)
    b_E1 = (PRIOR_IMPRESSIONS * (1 - rate_E) + shown_E - acted_E)[:, None].astype(np.float64)
    grid_X = np.linspace(0, 1, NUM_POINTS + 1) ** 2  # closer together near 0, where rates are
    below_EX = np.maximum(betainc(a_E1, b_E1, grid_X), 1e-300)
    log_EX = np.log(below_EX)
    others_EX = np.exp(log_EX.sum(0) - log_EX)
    best_E = ((below_EX[:, 1:] - below_EX[:, :-1]) * (others_EX[:, 1:] + others_EX[:, :-1]) / 2).sum(1)
    chances_E: Float32Array = best_E / best_E.sum()
    return chances_E
