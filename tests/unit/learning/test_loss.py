"""Losses recomputed by hand in numpy."""

import numpy as np
import pytest
import torch

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
    assert loss.item() == pytest.approx(expected, rel=1e-5)


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
