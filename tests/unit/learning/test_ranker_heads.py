"""What follows a click is believed as far as it held; weights of the heads are learned where a scenario has cases enough."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from app.features.ranking import FEATURES
from app.learning.ranker_heads import UNCHANGED, Belief, beliefs, believe, settle_heads
from app.learning.ranker_verdict import MIN_SCENARIO_CASES, OBJECTIVES, Judged, learned_objectives, score
from app.model.ranker import HEADS, RankerConfig, RankerNet
from app.model.ranker_runner import RankerRunner
from app.retrieval.ranker import SlateRanker
from app.retrieval.sources.source import Fitted
from tests.unit.learning.test_ranker_fit import TEXTS, cases_of

CURVES = dict.fromkeys(HEADS, (1.0, 0.0))


def judged_by(click_UC: np.ndarray, later_UC: np.ndarray, labels_UCH: np.ndarray) -> Judged:
    """Logits of the click and of both heads after it."""
    cases = replace(cases_of(len(click_UC), signal=1.0, fused=0.0, C=click_UC.shape[1]), labels_UCH=labels_UCH)
    logits = np.stack([click_UC, later_UC, later_UC], -1)
    log_UCH = -np.logaddexp(0.0, -logits)
    log_UCH[..., 1:] += log_UCH[..., :1]
    return Judged(cases, log_UCH.astype(np.float32), log_UCH.astype(np.float32))


def acts(chance_UC: np.ndarray, later_UC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    click = rng.random(chance_UC.shape) < 1 / (1 + np.exp(-chance_UC))
    later = rng.random(chance_UC.shape) < 1 / (1 + np.exp(-later_UC))
    return np.stack([click, click & later, click & later], -1)


@pytest.mark.parametrize("knows", [True, False])
def test_a_head_is_believed_as_far_as_it_held(knows: bool) -> None:
    """What follows a click goes by the head's logit, or by the click's, of which the head knows nothing."""
    rng = np.random.default_rng(0)
    click_UC, later_UC = rng.normal(size=(2, 400, 20))
    judged = judged_by(click_UC, later_UC, acts(click_UC, later_UC if knows else click_UC, rng))
    believed = beliefs(judged)
    assert believed[0].click == pytest.approx(0.0 if knows else 1.0, abs=0.15)
    assert believed[0].head == pytest.approx(1.0 if knows else 0.0, abs=0.15)


def test_few_acts_change_nothing() -> None:
    rng = np.random.default_rng(1)
    click_UC, later_UC = rng.normal(size=(2, 10, 5)) - 3.0
    assert beliefs(judged_by(click_UC, later_UC, acts(click_UC, later_UC, rng))) == [UNCHANGED] * 2


def test_the_net_that_serves_believes_the_same() -> None:
    torch.manual_seed(0)
    F, G = len(FEATURES), TEXTS.shape[1]
    net = RankerNet(RankerConfig(F, G), np.zeros(F, np.float32), np.ones(F, np.float32)).eval()
    with torch.no_grad():
        for value in net.parameters():
            value.normal_(std=0.3)
    net.settle_at_first_place()
    cases = cases_of(20, signal=1.0, fused=0.0)
    before, after = (Judged(cases, *np.zeros((2, *cases.known_UC.shape, 3), np.float32)) for _ in range(2))
    believed = [Belief(0.4, 0.6, -0.3), Belief(0.2, 0.0, -1.0)]
    score(net, before, np.arange(20), TEXTS)
    believe(before, believed)
    settle_heads(net, believed)
    score(net, after, np.arange(20), TEXTS)
    np.testing.assert_allclose(after.log_UCH, before.log_UCH, atol=1e-4)
    served_HC = RankerRunner(net.arrays()).logits(
        cases.features_UCF[0].astype(np.float32).T.copy(), TEXTS[cases.scenario_U[0]]
    )
    served_HC = -np.logaddexp(0.0, -served_HC)
    served_HC[1:] += served_HC[0]
    np.testing.assert_allclose(served_HC.T, after.log_UCH[0], atol=1e-4)


def test_weights_of_the_heads_are_a_scenarios_own_where_it_has_cases() -> None:
    """At home what is wanted goes by the cart's head alone, in search by the click's; one more scenario has few cases."""
    rng = np.random.default_rng(2)
    num = 6 * MIN_SCENARIO_CASES
    click_UC, later_UC = 0.5 * rng.normal(size=(2, num, 20))
    home_U = np.arange(num) < num // 4
    few_U = np.arange(num) >= num - MIN_SCENARIO_CASES // 2
    signal_UC = np.where(home_U[:, None], 4.0 * later_UC, 4.0 * click_UC)
    labels_UCH = np.repeat((signal_UC == signal_UC.max(1, keepdims=True))[..., None], 3, -1)
    judged = judged_by(click_UC - 3.0, 4.0 * later_UC, labels_UCH)
    names = {"": np.ones(num, np.bool_), "home": home_U, "search": ~home_U & ~few_U, "few": few_U}
    objective = learned_objectives(judged, names, {"": CURVES}, exclude_had=True)
    assert objective["search"] == OBJECTIVES[0]
    assert objective["home"] != OBJECTIVES[0]
    assert "few" not in objective
    served = SlateRanker(Fitted({"objective": objective}, {}))
    assert served._of_scenario("objective", "few") == objective[""]
    assert served._of_scenario("objective", "home") == objective["home"]
