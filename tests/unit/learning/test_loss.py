"""Losses recomputed by hand in numpy."""

import numpy as np
import pytest
import torch

import app.learning.loss as loss_module
from app.learning.loss import LOGQ_ALPHA, full_softmax, in_batch_softmax, sample_negatives

RNG = np.random.default_rng(0)


def unit(rows: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.from_numpy(RNG.normal(size=(rows, 4)).astype(np.float32)), dim=-1)


def test_full_softmax_is_the_weighted_mean_of_minus_log_softmax() -> None:
    users, items, target, weight = unit(3), unit(5), np.array([0, 4, 2]), np.array([1.0, 2.0, 0.5], np.float32)
    logits = users.numpy() @ items.numpy().T / 0.1
    log_softmax = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    expected = -(weight * log_softmax[np.arange(3), target]).sum() / weight.sum()
    loss = full_softmax(users, items, torch.from_numpy(target), torch.from_numpy(weight), torch.tensor(0.1))
    assert loss.item() == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_full_softmax_has_the_gradients_of_cross_entropy(
    dtype: torch.dtype, close: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss_module, "MATMUL_DTYPE", dtype)
    monkeypatch.setattr(loss_module, "CHUNK", 400)  # several chunks, the last one short
    user_TD, item_ND = unit(50).requires_grad_(), unit(20).requires_grad_()
    temperature = torch.tensor(0.07, requires_grad=True)
    target_T, weight_T = torch.from_numpy(RNG.integers(0, 20, 50)), torch.rand(50)
    inputs = (user_TD, item_ND, temperature)
    ours = full_softmax(user_TD, item_ND, target_T, weight_T, temperature)
    each_T = torch.nn.functional.cross_entropy(user_TD @ item_ND.T / temperature, target_T, reduction="none")
    theirs = (each_T * weight_T).sum() / weight_T.sum()
    assert ours.item() == pytest.approx(theirs.item(), rel=close)
    for mine, expected in zip(torch.autograd.grad(ours, inputs), torch.autograd.grad(theirs, inputs), strict=True):
        assert (mine - expected).norm() <= close * expected.norm()


def test_in_batch_softmax_corrects_negatives_only() -> None:
    users, items, target = unit(2), unit(3), np.array([0, 2])
    log_q = np.log(np.array([0.5, 0.1, 0.9], np.float32))
    logits = users.numpy() @ items.numpy().T / 0.2
    corrected = logits - LOGQ_ALPHA * log_q
    corrected[np.arange(2), target] = logits[np.arange(2), target]
    expected = -(corrected[np.arange(2), target] - np.log(np.exp(corrected).sum(1))).mean()
    loss = in_batch_softmax(
        users, items, torch.from_numpy(target), torch.ones(2), torch.tensor(0.2), torch.from_numpy(log_q)
    )
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_sampled_items_hold_every_target_and_their_true_chance() -> None:
    count = torch.tensor([90, 9, 1] + [0] * 2_000)
    target = torch.tensor([0, 0, 1])
    seen = np.zeros(len(count))
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        drawn = target[torch.randint(0, 3, (3,), generator=generator)]
        items, place, log_q = sample_negatives(drawn, count, generator)
        assert torch.equal(items[place], drawn)
        assert len(torch.unique(items)) == len(items)
        seen[items.numpy()] += 1
    expected = torch.exp(log_q[items >= 3]).mean().item()
    assert seen[3:].mean() / 200 == pytest.approx(expected, rel=0.02)


def test_hard_negatives_stand_beside_the_others() -> None:
    drawn, hard = torch.tensor([0, 1, 0]), torch.tensor([7, 9, 7])
    items, place, log_q = sample_negatives(drawn, torch.ones(10), torch.Generator(), 0, hard)
    assert items.tolist() == [0, 1, 7, 9]
    assert torch.equal(items[place], drawn)
    assert len(log_q) == 4


def test_a_hard_negative_without_any_event_leaves_the_loss_finite() -> None:
    counts_N = torch.tensor([5, 3, 0, 2])
    _, _, log_q_M = sample_negatives(
        torch.tensor([0, 1]), counts_N, torch.Generator(), num_uniform=0, hard_H=torch.tensor([2])
    )
    assert torch.isfinite(log_q_M).all()
