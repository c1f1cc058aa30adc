"""Losses over item vectors. Shapes: T targets of a batch, N items, D dim, M sampled negatives."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

FULL_SOFTMAX_BELOW = 30_000
UNIFORM_NEGATIVES = 512
LOGQ_ALPHA = 0.5  # full correction (1.0) costs coverage


def full_softmax(user_TD: Tensor, item_ND: Tensor, target_T: Tensor, weight_T: Tensor, temperature: Tensor) -> Tensor:
    """Weighted mean of -log softmax(cosine / temperature) over the whole catalogue."""
    loss_T = F.cross_entropy((user_TD / temperature) @ item_ND.T, target_T, reduction="none")
    return (loss_T * weight_T).sum() / weight_T.sum()


def in_batch_softmax(
    user_TD: Tensor, item_MD: Tensor, target_T: Tensor, weight_T: Tensor, temperature: Tensor, log_q_M: Tensor
) -> Tensor:
    """The same over M sampled items: the batch's own targets and a uniform draw, with the logQ correction.

    target_T: places in item_MD. log_q_M: log of the chance that an item is among the M; it is subtracted, LOGQ_ALPHA times,
    from the logits of negatives so that popular items are not punished for being sampled often.
    Source: Yi et al. 2019, sampling-bias-corrected two-tower; the target itself stays uncorrected (Bakhvalov et al. 2025).
    """
    user_TD = user_TD / temperature  # the narrow factor: dividing the logits would cost a third of the step
    logits_TM = user_TD @ item_MD.T - LOGQ_ALPHA * log_q_M
    each = torch.arange(len(target_T))
    logits_TM = logits_TM.index_put((each, target_T), (user_TD * item_MD[target_T]).sum(-1))
    loss_T = F.cross_entropy(logits_TM, target_T, reduction="none")
    return (loss_T * weight_T).sum() / weight_T.sum()


def sample_negatives(
    target_T: Tensor, item_count_N: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Items M (unique), place of each target among them [T], and log_q_M.

    The batch's targets are each other's negatives, and UNIFORM_NEGATIVES items are drawn beside them, so that items which are
    never a target are pushed away as well.
    """
    N = len(item_count_N)
    uniform = torch.randint(0, N, (UNIFORM_NEGATIVES,), generator=generator)
    items_M, place = torch.unique(torch.cat([target_T, uniform]), return_inverse=True)
    share_M = item_count_N[items_M].float() / item_count_N.sum().clamp(min=1)
    draws = len(target_T) * share_M + UNIFORM_NEGATIVES / N
    return items_M, place[: len(target_T)], torch.log(-torch.expm1(-draws))
