"""Losses over item vectors. Shapes: T targets of a batch, N items, D dim, M sampled negatives."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from app.processor import BFLOAT16

FULL_SOFTMAX_BELOW = 30_000
UNIFORM_NEGATIVES = 512
LOGQ_ALPHA = 0.5  # full correction (1.0) costs coverage
LEAST_DRAWN = 1e-12  # chance of an item to be among the negatives: a hard one may have no event
CHUNK = 4_000_000  # logits in memory at once; the fewer they are, the more often the gradient of all items is read and written
# Products of the softmax in bf16 where the processor multiplies it in hardware: 1.3 to 2 times faster, gradients within 0.1 %.
MATMUL_DTYPE = torch.bfloat16 if BFLOAT16 else torch.float32


def full_softmax(user_TD: Tensor, item_ND: Tensor, target_T: Tensor, weight_T: Tensor, temperature: Tensor) -> Tensor:
    """Weighted mean of -log softmax(cosine / temperature) over the whole catalogue. Unit rows at a temperature of at least 0.03, or any rows
    whose logits stay below 80, where exp is far from overflow.

    Loss and gradients are made together, CHUNK logits at a time, so that T x N logits never stand in memory: 3-5 times faster
    than F.cross_entropy on them, whose time goes into moving those logits about (measured at N = 3,500 and 12,000).
    """
    loss: Tensor = _ChunkedSoftmax.apply(user_TD / temperature, item_ND, target_T, weight_T / weight_T.sum())  # type: ignore[no-untyped-call]
    return loss


class _ChunkedSoftmax(torch.autograd.Function):
    """No maximum is subtracted before exp: a cosine over a temperature of at least 0.03 stays below 34."""

    @staticmethod
    def forward(ctx, query_TD: Tensor, item_ND: Tensor, target_T: Tensor, weight_T: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        kind = MATMUL_DTYPE
        items_ND, items_DN = item_ND.to(kind), item_ND.T.to(kind).contiguous()
        wanted_TD = item_ND[target_T]
        grad_TD, grad_ND = torch.empty_like(query_TD), torch.zeros_like(item_ND)
        log_total_T = torch.empty_like(weight_T)
        rows = max(16, CHUNK // len(item_ND))
        for start in range(0, len(query_TD), rows):
            part = slice(start, start + rows)
            odds_CN = (query_TD[part].to(kind) @ items_DN).exp_()
            total_C = odds_CN.sum(1, dtype=torch.float32)
            log_total_T[part] = total_C.log()
            # Onto the narrow factors: so the C x N numbers are passed through once less.
            share_C1 = (weight_T[part] / total_C)[:, None]
            grad_TD[part] = (odds_CN @ items_ND) * share_C1
            grad_ND += odds_CN.T @ (query_TD[part] * share_C1).to(kind)
        grad_TD -= weight_T[:, None] * wanted_TD
        grad_ND.index_add_(0, target_T, -weight_T[:, None] * query_TD)
        ctx.save_for_backward(grad_TD, grad_ND)
        return ((log_total_T - (query_TD * wanted_TD).sum(1)) * weight_T).sum()

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:  # type: ignore[no-untyped-def]
        grad_TD, grad_ND = ctx.saved_tensors
        return grad * grad_TD, grad * grad_ND, None, None


def bce(
    user_TD: Tensor, item_ND: Tensor, target_T: Tensor, weight_T: Tensor, temperature: Tensor, negative_T: Tensor
) -> Tensor:
    """Weighted mean of binary cross-entropy against one negative each, as SASRec was first trained. For the ablation."""
    user_TD = user_TD / temperature
    wanted_T, other_T = (user_TD * item_ND[target_T]).sum(-1), (user_TD * item_ND[negative_T]).sum(-1)
    return ((F.softplus(-wanted_T) + F.softplus(other_T)) * weight_T).sum() / weight_T.sum()


def in_batch_softmax(
    user_TD: Tensor, item_MD: Tensor, target_T: Tensor, weight_T: Tensor, temperature: Tensor, log_q_M: Tensor,
    alpha: float = LOGQ_ALPHA,
) -> Tensor:  # fmt: skip
    """The same over M sampled items: the batch's own targets and a uniform draw, with the logQ correction.

    target_T: places in item_MD. log_q_M: log of the chance that an item is among the M; it is subtracted, alpha times,
    from the logits of negatives so that popular items are not punished for being sampled often.
    Source: Yi et al. 2019, sampling-bias-corrected two-tower; the target itself stays uncorrected (Bakhvalov et al. 2025).
    """
    user_TD = user_TD / temperature  # the narrow factor: dividing the logits would cost a third of the step
    logits_TM = user_TD @ item_MD.T - alpha * log_q_M
    each = torch.arange(len(target_T))
    logits_TM = logits_TM.index_put((each, target_T), (user_TD * item_MD[target_T]).sum(-1))
    loss_T = F.cross_entropy(logits_TM, target_T, reduction="none")
    return (loss_T * weight_T).sum() / weight_T.sum()


def sample_negatives(
    target_T: Tensor, item_count_N: Tensor, generator: torch.Generator, num_uniform: int = UNIFORM_NEGATIVES,
    hard_H: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Items M (unique), place of each target among them [T], and log_q_M.

    The batch's targets are each other's negatives, and num_uniform items are drawn beside them, so that items which are
    never a target are pushed away as well. hard_H: further items, of which the correction knows nothing, so they weigh in full.
    """
    N = len(item_count_N)
    uniform = torch.randint(0, N, (num_uniform,), generator=generator)
    items_M, place = torch.unique(
        torch.cat([target_T, uniform, target_T[:0] if hard_H is None else hard_H]), return_inverse=True
    )
    share_M = item_count_N[items_M].float() / item_count_N.sum().clamp(min=1)
    draws = len(target_T) * share_M + num_uniform / N
    return items_M, place[: len(target_T)], torch.log((-torch.expm1(-draws)).clamp(min=LEAST_DRAWN))
