"""What follows a click is rare, so its heads are believed only as far as they held on cases that their nets had not seen.

The logit of p(cart | click) becomes α · click's logit + β · what the head said + γ, α and β not negative, fitted on left-out acts.
Where the head was chance, β is 0 and carts and purchases go by the click alone.

Shapes: U cases, C candidates, H heads, A acts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import optimize

from app.learning.ranker_curves import logit
from app.learning.ranker_verdict import MIN_POSITIVES, Judged
from app.model.ranker import NUM_HEADS, RankerNet
from app.types import BoolArray, Float32Array

RIDGE = 1.0  # on α and β, in acts: what few acts say is held small
LOGIT_BOUND = 30.0


class Belief(NamedTuple):
    click: float
    head: float
    offset: float


UNCHANGED = Belief(0.0, 1.0, 0.0)


def beliefs(judged: Judged) -> list[Belief]:
    """Of each head after the click's."""
    acted_UC = judged.cases.labels_UCH[..., 0] & ~judged.cases.cold_U[:, None]
    log_AH, labels_AH = judged.log_UCH[acted_UC], judged.cases.labels_UCH[acted_UC]
    if not len(log_AH):
        return [UNCHANGED] * (NUM_HEADS - 1)
    click_A = logit(log_AH[:, 0])
    return [_fitted(click_A, _given_click(log_AH, head), labels_AH[:, head]) for head in range(1, NUM_HEADS)]


def _fitted(click_A: NDArray[np.float64], head_A: NDArray[np.float64], label_A: BoolArray) -> Belief:
    if min(label_A.sum(), (~label_A).sum()) < MIN_POSITIVES:
        return UNCHANGED
    inputs_A3 = np.stack([click_A, head_A, np.ones(len(head_A))], 1)

    def loss(weight_3: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        z_A = inputs_A3 @ weight_3
        away_A = 1.0 / (1.0 + np.exp(-z_A)) - label_A
        pull_3 = RIDGE * np.asarray([weight_3[0], weight_3[1], 0.0])
        cost = float((np.logaddexp(0.0, z_A) - z_A * label_A).sum() + 0.5 * pull_3 @ weight_3)
        return cost, inputs_A3.T @ away_A + pull_3

    found = optimize.minimize(
        loss, np.asarray([0.5, 0.5, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0.0, 5.0), (0.0, 1.0), (-20.0, 20.0)]
    )
    return Belief(*(round(float(value), 5) for value in found.x))


def believe(judged: Judged, believed: list[Belief]) -> None:
    """Changes what the nets said of the cases to what is believed of it."""
    for head, belief in enumerate(believed, start=1):
        z_UC = belief.click * logit(judged.log_UCH[..., 0]) + belief.offset
        z_UC += belief.head * _given_click(judged.log_UCH, head)
        log_UC = -np.logaddexp(0.0, -np.clip(z_UC, -LOGIT_BOUND, LOGIT_BOUND))
        for held_UCH in (judged.log_UCH, judged.placed_UCH):
            held_UCH[..., head] = held_UCH[..., 0] + log_UC


@torch.no_grad()
def settle_heads(net: RankerNet, believed: list[Belief]) -> None:
    """The same, as weights of the net."""
    for head, belief in enumerate(believed, start=1):
        for own in (net.out[head], net.wide.weight[head], net.wide.bias[head : head + 1]):
            own *= belief.head
        net.wide.bias[head] += belief.offset
        net.lean[head - 1] = belief.click + belief.head * net.lean[head - 1]


def _given_click(log_XH: Float32Array, head: int) -> NDArray[np.float64]:
    """The head's own logit, from the log chances."""
    return logit(log_XH[..., head] - log_XH[..., 0])
