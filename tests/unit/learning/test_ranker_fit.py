"""The ranker on cases whose answer is known: what it learns, when it may serve, and how well its chances hold."""

from __future__ import annotations

import numpy as np
import pytest

from app.features.ranking import FEATURES
from app.features.ranking.names import ROW
from app.learning.evaluation.metrics import per_user
from app.learning.ranker_cases import RankerCases
from app.learning.ranker_curves import logit, platt
from app.learning.ranker_fit import fit_ranker
from app.learning.ranker_training import train
from app.learning.ranker_verdict import Judged, score
from app.model.ranker_runner import RankerRunner
from app.retrieval.ranker import SlateRanker, worth
from app.retrieval.sources.source import Fitted
from app.scenarios.scenario import Objective
from app.types import no_progress

NAMES = ("", "home", "search")
TEXTS = np.eye(3, 8, dtype=np.float32)
SIGNAL = ROW["text of recent"]


def cases_of(
    num: int, *, signal: float, fused: float, seed: int = 0, slates: bool = False, C: int = 24, by_place: float = 0.0
) -> RankerCases:
    """Clicks follow `signal` times one feature and `fused` times the fused score; by_place: and fall with the place of a logged slate."""
    rng = np.random.default_rng(seed)
    features_UCF = rng.normal(size=(num, C, len(FEATURES))).astype(np.float32)
    fused_UC = np.sort(rng.random((num, C)), axis=1)[:, ::-1].astype(np.float32)
    features_UCF[..., ROW["fused"]], features_UCF[..., ROW["log fused"]] = fused_UC, np.log(np.maximum(fused_UC, 1e-4))
    position_UC = np.zeros((num, C), np.int32)
    if slates:
        order = np.argsort(-features_UCF[..., ROW["price"]] * bool(by_place) + rng.normal(size=(num, C)), axis=1)
        np.put_along_axis(position_UC, order[:, :10], np.arange(1, 11)[None], 1)
    utility_UC = (
        signal * features_UCF[..., SIGNAL] + fused * (fused_UC - 0.5) - by_place * np.maximum(position_UC - 1, 0)
    )
    click_UC = rng.random((num, C)) < 1 / (1 + np.exp(2.5 - utility_UC))
    if slates:
        click_UC &= position_UC > 0
    later = rng.random((num, C, 2)) < [0.5, 0.25]
    labels = np.stack([click_UC, click_UC & later[..., 0], click_UC & later[..., 0] & later[..., 1]], -1)
    return RankerCases(
        features_UCF.astype(np.float16), np.ones((num, C), np.bool_), labels, position_UC, fused_UC,
        np.zeros((num, C), np.bool_), rng.integers(0, 3, num), np.arange(num), np.zeros(num, np.bool_),
    )  # fmt: skip


def fitted(cases: RankerCases, without: str = "fusion") -> SlateRanker:
    ranked = fit_ranker(cases, NAMES, TEXTS, without, 0, no_progress, exclude_had=True)
    return SlateRanker(Fitted(ranked.parameters, ranked.arrays))


@pytest.fixture(scope="module")
def logged() -> SlateRanker:
    return fitted(cases_of(900, signal=1.5, fused=1.0, slates=True))


def test_what_the_fusion_cannot_see_brings_the_ranker_into_service(logged: SlateRanker) -> None:
    choice = logged.fitted.parameters["choices"][""]
    assert choice["order"] == choice["objective"] == "ranker"
    assert choice["ndcg@10"]["ranker"] > 1.2 * choice["ndcg@10"]["fusion"]
    assert all(of["ranker"] < of["fusion"] for of in choice["log_loss"].values())
    assert logged.method("home", None, is_cold=False) == "ranker"
    assert logged.method("home", None, is_cold=True) == "fusion", "no case was asked without a history"


def test_the_heads_know_their_rates_and_the_error_is_told(logged: SlateRanker) -> None:
    errors = logged.fitted.parameters["calibration_error"]
    assert {"click", "cart_add", "purchase"} <= set(errors[""])
    assert all(of["ece"] < 0.03 for of in errors[""].values())
    assert errors[""]["purchase"]["rate"] < errors[""]["cart_add"]["rate"] < errors[""]["click"]["rate"]
    fresh = cases_of(300, signal=1.5, fused=1.0, slates=True, seed=9)
    chances_HX = logged.chances(fresh.features_UCF[fresh.known_UC].astype(np.float32).T.copy(), "home", TEXTS[1])
    rates = fresh.labels_UCH[fresh.known_UC].mean(0)
    np.testing.assert_allclose(chances_HX.mean(1), rates, rtol=0.35)  # a few dozen purchases


def test_a_good_place_in_the_fusion_is_no_evidence_against_an_item() -> None:
    """Many wanted items, as many candidates as are served, and nothing to learn but the fusion's own order."""
    learned, fresh = (cases_of(250, signal=0.0, fused=1.2, seed=seed, C=200) for seed in (0, 1))
    net, _ = train(learned, TEXTS, 0)
    judged = Judged(fresh, *np.zeros((2, *fresh.labels_UCH.shape), np.float32))
    score(net, judged, np.arange(len(fresh)), TEXTS)
    click_UC, wanted_UC = judged.log_UCH[..., 0], fresh.labels_UCH[..., 0]
    ours, fused, fused_backwards = (
        _ndcg_of(scores_UC, wanted_UC) for scores_UC in (click_UC, fresh.fused_UC, -fresh.fused_UC)
    )
    assert ours > fused_backwards + 0.7 * (fused - fused_backwards)


def _ndcg_of(scores_UC: np.ndarray, wanted_UC: np.ndarray) -> float:
    ranked = np.argsort(-scores_UC, axis=1)
    targets = [np.flatnonzero(wanted) for wanted in wanted_UC]
    return float(per_user(ranked[:, :50], targets)["ndcg@10"].mean())


@pytest.mark.parametrize("num_users", [1, 2, 12])
def test_cases_of_few_shoppers_cost_no_retraining(num_users: int) -> None:
    cases = cases_of(400, signal=1.5, fused=1.0)
    cases.user_U[:] = 7 * (np.arange(400) % num_users)
    held = fitted(cases)
    assert bool(held.fitted.arrays) == (num_users == 12)


def test_where_the_fusion_is_right_it_stays() -> None:
    held = fitted(cases_of(500, signal=0.0, fused=6.0))
    assert held.fitted.parameters["choices"][""]["order"] == "fusion"


@pytest.mark.parametrize("without", ["fusion", "rank fusion"])
def test_too_few_cases_fall_back_and_say_so(without: str) -> None:
    held = fitted(cases_of(120, signal=1.0, fused=1.0), without)
    assert not held.fitted.arrays
    assert held.method("home", None, is_cold=False) == without
    assert "are needed to fit a ranker" in held.fitted.parameters["choices"][""]["why"]


def test_a_place_at_the_top_is_not_taken_for_liking() -> None:
    """The logged slates were sorted by price, roughly, which nobody cares for; clicks fall from place to place."""
    cases = cases_of(900, signal=1.5, fused=0.0, slates=True, by_place=0.35)
    net, _ = train(cases, TEXTS, 0, epochs=8)
    rng = np.random.default_rng(4)
    features_FC = rng.normal(size=(len(FEATURES), 2_000)).astype(np.float32)
    click_C = RankerRunner(net.arrays()).logits(features_FC, TEXTS[0])[0]
    by_price, by_signal = (np.corrcoef(click_C, features_FC[row])[0, 1] for row in (ROW["price"], SIGNAL))
    places = net.position.weight.detach().numpy().ravel()
    unaware = RankerCases(*(getattr(cases, name) for name in cases.__dataclass_fields__))
    unaware.position_UC[unaware.position_UC > 0] = 1
    blind, _ = train(unaware, TEXTS, 0, epochs=8)
    blind_C = RankerRunner(blind.arrays()).logits(features_FC, TEXTS[0])[0]
    assert by_signal > 0.7
    assert by_price < 0.5 * np.corrcoef(blind_C, features_FC[ROW["price"]])[0, 1]
    assert places[1] > places[5] > places[10]


def test_platt_finds_the_curve_that_made_the_labels() -> None:
    rng = np.random.default_rng(2)
    value_X = rng.normal(size=20_000)
    label_X = rng.random(20_000) < 1 / (1 + np.exp(-(1.5 * value_X - 0.7)))
    assert platt(value_X, label_X) == pytest.approx((1.5, -0.7), abs=0.08)
    assert logit(np.log(np.asarray([0.25, 0.9], np.float32))).tolist() == pytest.approx(
        np.log([1 / 3, 9]).tolist(), rel=1e-5
    )
    assert np.isfinite(logit(np.asarray([0.0, -80.0], np.float32))).all()


def test_a_purchase_is_worth_what_the_objective_says(logged: SlateRanker) -> None:
    features_FC = cases_of(1, signal=1.0, fused=1.0, seed=3).features_UCF[0].astype(np.float32).T.copy()
    price_C = np.linspace(1, 50, features_FC.shape[1]).astype(np.float32)
    objective = Objective(click=0.5, purchase=3, value=0.2)
    expected_C = worth(logged.chances(features_FC, "search", TEXTS[2]), objective, price_C)
    np.testing.assert_allclose(
        logged.scores(features_FC, "search", TEXTS[2], objective, price_C), expected_C, rtol=1e-6
    )
