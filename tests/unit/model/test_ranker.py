"""The heads: what torch trains is what numpy serves, and a chance is never above the one it is a part of."""

import numpy as np
import torch

from app.model.ranker import CLIP, HEADS, RankerConfig, RankerNet
from app.model.ranker import log_chances as torch_log_chances
from app.model.ranker_runner import CLIP as SERVED_CLIP
from app.model.ranker_runner import RankerRunner
from app.retrieval.ranker import HEADS as SERVED_HEADS
from app.retrieval.ranker import whole_logits

F, G = 11, 6


def log_chances(logits_HC: np.ndarray) -> np.ndarray:
    return -np.logaddexp(0.0, -whole_logits(logits_HC))


def shaken_net(seed: int = 3) -> RankerNet:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = RankerNet(RankerConfig(F, G), rng.normal(size=F).astype(np.float32), np.ones(F, np.float32))
    with torch.no_grad():
        for name, value in net.named_parameters():
            value.copy_(torch.randn_like(value) * (0.2 if "wide" in name else 0.6))
    return net.eval()


def test_numpy_serves_what_torch_trained():
    net = shaken_net()
    runner = RankerRunner(net.arrays())
    rng = np.random.default_rng(0)
    features_FC = rng.normal(size=(F, 50), scale=3).astype(np.float32)
    features_FC[0, :5], features_FC[1, 5:9] = np.nan, np.inf
    for scenario_G in (np.zeros(G, np.float32), rng.normal(size=G).astype(np.float32)):
        served_HC = runner.logits(features_FC, scenario_G)
        np.testing.assert_array_equal(runner.logits(np.asfortranarray(features_FC), scenario_G), served_HC)
        with torch.no_grad():
            features_BKF, scenario_BG = torch.from_numpy(features_FC.T[None].copy()), torch.from_numpy(scenario_G[None])
            trained_XH = net(features_BKF, scenario_BG, torch.zeros(1, 50, dtype=torch.long))[0]
        np.testing.assert_allclose(served_HC, trained_XH.numpy().T, atol=2e-5)
        np.testing.assert_allclose(log_chances(served_HC), torch_log_chances(trained_XH).numpy().T, atol=2e-5)
        assert np.isfinite(served_HC).all()
    assert (HEADS, CLIP) == (SERVED_HEADS, SERVED_CLIP)


def test_gates_read_scenario_and_task():
    runner = RankerRunner(shaken_net().arrays())
    here, there = (runner.gates(np.full(G, value, np.float32)) for value in (0.5, -0.5))
    np.testing.assert_allclose(here.sum(1), 1.0, rtol=1e-5)
    assert not np.allclose(here, there)
    assert not np.allclose(here[0], here[1])


def test_a_cart_or_a_purchase_is_never_likelier_than_the_click():
    logits_HC = np.random.default_rng(1).normal(size=(3, 100), scale=40).astype(np.float32)
    log_HC = log_chances(logits_HC)
    assert np.isfinite(log_HC).all()
    assert (log_HC <= 0).all()
    assert (log_HC[1:] <= log_HC[0]).all()


def test_the_place_moves_the_click_alone_and_nothing_at_serving():
    net = shaken_net()
    with torch.no_grad():
        x_BKF, zero_BG = torch.zeros(1, 2, F), torch.zeros(1, G)
        first, deep = (net(x_BKF, zero_BG, torch.full((1, 2), place))[0] for place in (1, 9))
        unplaced = net(x_BKF, zero_BG, torch.zeros(1, 2, dtype=torch.long))[0]
    assert not torch.allclose(first[:, 0], deep[:, 0])
    assert torch.equal(first[:, 1:], deep[:, 1:])
    served = RankerRunner(net.arrays()).logits(np.zeros((F, 2), np.float32), np.zeros(G, np.float32))
    np.testing.assert_allclose(served.T, unplaced.numpy(), atol=1e-5)
