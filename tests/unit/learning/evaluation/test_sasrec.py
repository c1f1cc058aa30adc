"""SASRec: what it may see, what it minimises, and a log where only the order tells."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from app.learning.evaluation.peers.peer import rank
from app.learning.evaluation.peers.sasrec import SasRecPeer, Training, softmax_loss
from app.learning.evaluation.peers.sasrec_model import SasRec
from app.learning.evaluation.peers.tuning import Tuning
from app.learning.splits import leave_one_out
from app.types import no_progress
from tests.unit.learning.builders import log
from tests.unit.learning.evaluation.test_peers import chain, two_tastes

SMALL = {"dim": 32, "blocks": 2, "heads": 2, "length": 8, "dropout": 0.1, "epochs": 40}


def test_no_place_sees_what_comes_later() -> None:
    torch.manual_seed(0)
    net = SasRec(20, 6, 16, 2, 2, 0.0).eval()
    items, sizes = torch.randint(0, 20, (3, 6)), torch.full((3,), 6)
    changed = items.clone()
    changed[:, 4:] = (changed[:, 4:] + 1) % 20
    before, after = net(items, sizes), net(changed, sizes)
    assert torch.allclose(before[:, :4], after[:, :4], atol=1e-6)
    assert not torch.allclose(before[:, 4:], after[:, 4:], atol=1e-3)


def test_a_short_history_ends_where_a_long_one_ends() -> None:
    """What stands behind it is not looked at, and its newest event has the last position."""
    torch.manual_seed(0)
    net = SasRec(20, 6, 16, 1, 1, 0.0).eval()
    items = torch.randint(0, 20, (1, 3))
    padded = torch.cat([items, torch.randint(0, 20, (1, 3))], dim=1)
    assert torch.allclose(net(items, torch.tensor([3])), net(padded, torch.tensor([3]))[:, :3], atol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_the_loss_is_the_full_softmax_also_where_exp_would_overflow(scale: float) -> None:
    torch.manual_seed(0)
    query, items, target = torch.randn(50, 8) * scale, torch.randn(30, 8), torch.randint(0, 30, (50,))
    expected = F.cross_entropy(query @ items.T, target)
    assert softmax_loss(query, items, target).item() == pytest.approx(expected.item(), rel=0.01)


def test_the_order_tells_what_comes_next() -> None:
    split = leave_one_out(log(chain()))
    scorer = SasRecPeer().fit(split.train, SMALL, "exclude", 0, no_progress)
    topk = rank(scorer, split, 1, "exclude")
    assert np.mean([row[0] == target[0] for row, target in zip(topk, split.targets, strict=True)]) > 0.9


def test_a_seed_makes_it_repeatable_and_leaves_torch_alone() -> None:
    train = leave_one_out(log(two_tastes())).train
    torch.manual_seed(9)
    state = torch.get_rng_state()
    users = np.arange(5)
    first, again, other = (_scores(train, seed, users) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_it_stops_when_validation_does_and_takes_the_best_epoch() -> None:
    inner = leave_one_out(leave_one_out(log(two_tastes())).train)
    tuning = Tuning(inner, "exclude", 0, 60.0, no_progress)
    SasRecPeer().search(tuning)
    assert [trial.params["dropout"] for trial in tuning.trials] == [0.5, 0.2]
    assert all(1 <= int(trial.params["epochs"] or 0) <= 200 and trial.score > 0 for trial in tuning.trials)


def _scores(train: object, seed: int, users: np.ndarray) -> np.ndarray:
    training = Training(train, SMALL, "exclude", seed)  # type: ignore[arg-type]
    training.epoch(no_progress)
    return np.array(training.scorer()(users))
