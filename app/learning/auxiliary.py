"""Losses that carry the language across: a scenario's words, a query's, and a user's own shall point at the items chosen.

All are contrastive against the items of the step, in the space of the item vectors, at the towers' temperature. The log of an
item's share is added to its logit, so that words learn what sets a scenario or a user apart and not what everyone likes.
Shapes: T targets, C of them with words, M items of the step, S scenarios, D dim, X text.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from app.learning.dataset import Interactions
from app.learning.inputs import Inputs
from app.model.towers import Towers
from app.types import Float32Array, Int64Array

MAX_TOLD = 256  # targets of a step that are predicted from a profile's words, or from a query's


def scenario_text_loss(
    towers: Towers, inputs: Inputs, data: Interactions, events_T: Int64Array, item_MD: Tensor, place_T: Tensor,
    log_share_M: Tensor,
) -> Tensor:  # fmt: skip
    """Mean over the scenarios met of the cross-entropy between what was chosen there and softmax(words · items / temperature).

    place_T: column of each target among the M items. Zero where no target has a described scenario.
    """
    text_ST = torch.from_numpy(inputs.scenario_text_ST)
    scenario_T = torch.from_numpy(data.scenario_E[events_T].astype(np.int64))
    told_T = text_ST.abs().sum(-1)[scenario_T] > 0
    if not bool(told_T.any()):
        return item_MD.new_zeros(())
    rows_S, place = torch.unique(scenario_T[told_T], return_inverse=True)
    chosen_SM = torch.zeros(len(rows_S), len(item_MD))
    chosen_SM.index_put_((place, place_T[told_T]), torch.ones(len(place)), accumulate=True)
    words_SD = towers.user.scenario(torch.zeros_like(rows_S), text_ST[rows_S])
    logits_SM = F.normalize(words_SD, dim=-1) @ item_MD.T / towers.temperature + log_share_M
    share_SM = chosen_SM / chosen_SM.sum(1, keepdim=True)
    return -(share_SM * F.log_softmax(logits_SM, -1)).sum(1).mean()


def user_text_loss(
    towers: Towers, inputs: Inputs, data: Interactions, events_T: Int64Array, item_MD: Tensor, place_T: Tensor,
    log_share_M: Tensor, rng: np.random.Generator,
) -> Tensor:  # fmt: skip
    """Mean over some targets of users with a profile of the cross-entropy of softmax(profile's words · items / temperature)."""
    told_C = rng.permutation(np.flatnonzero(inputs.profile_UT.says_something_R[data.user_E[events_T]]))[:MAX_TOLD]
    words_CX = inputs.profile_UT[data.user_E[events_T[told_C]]]
    return _words_loss(towers, words_CX, item_MD, place_T[torch.from_numpy(told_C)], log_share_M)


def query_text_loss(
    towers: Towers, inputs: Inputs, data: Interactions, events_T: Int64Array, item_MD: Tensor, place_T: Tensor,
    log_share_M: Tensor, rng: np.random.Generator,
) -> Tensor:  # fmt: skip
    """The same for some targets that a query led to: its words are read as a profile's are, being what somebody says they want."""
    if not len(inputs.query_QT):
        return item_MD.new_zeros(())
    told_C = rng.permutation(np.flatnonzero(data.query_E[events_T]))[:MAX_TOLD]
    words_CX = inputs.query_QT[data.query_E[events_T[told_C]]]
    return _words_loss(towers, words_CX, item_MD, place_T[torch.from_numpy(told_C)], log_share_M)


def _words_loss(
    towers: Towers, words_CX: Float32Array, item_MD: Tensor, place_C: Tensor, log_share_M: Tensor
) -> Tensor:
    if not len(words_CX):
        return item_MD.new_zeros(())
    words_CD = towers.user.profile(torch.from_numpy(words_CX))
    logits_CM = F.normalize(words_CD, dim=-1) @ item_MD.T / towers.temperature + log_share_M
    return F.cross_entropy(logits_CM, place_C)
