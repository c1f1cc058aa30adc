"""From chances to one score, and who orders a slate."""

import numpy as np
import pytest

from app.features.moment import Moment
from app.features.ranking import FEATURES
from app.model.ranker import RankerConfig, RankerNet
from app.retrieval.ranker import SlateRanker, calibrated, weights_are_learned, worth
from app.retrieval.sources.source import Fitted
from app.scenarios.scenario import Objective

CHANCES = np.asarray([[0.5, 0.2], [0.1, 0.15], [0.05, 0.1]], np.float32)
PRICES = np.asarray([10.0, np.nan], np.float32)
ARRAYS = RankerNet(
    RankerConfig(len(FEATURES), 4), np.zeros(len(FEATURES), np.float32), np.ones(len(FEATURES), np.float32)
).arrays()


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (Objective(), [0.5, 0.2]),
        (Objective(click=0, cart_add=1), [0.1, 0.15]),
        (Objective(click=1, cart_add=0, purchase=5), [0.75, 0.7]),
        (Objective(click=0, value=1), [0.5, 3.0]),
        (Objective(click=2, cart_add=3, purchase=4, value=0.1), [1.55, 1.55]),
    ],
)
def test_an_objective_is_the_sum_it_says(objective, expected):
    assert worth(CHANCES, objective, PRICES, usual_price=30.0).tolist() == pytest.approx(expected)


def test_platt_moves_the_logit():
    logits_HC = np.log(CHANCES / (1 - CHANCES))
    unmoved = np.tile(np.asarray([1.0, 0.0], np.float32), (3, 1))
    np.testing.assert_allclose(calibrated(logits_HC, unmoved), CHANCES, rtol=1e-5)
    moved = calibrated(logits_HC, np.asarray([[2.0, 1.0], [1.0, 0.0], [1.0, 0.0]], np.float32))
    assert moved[0].tolist() == pytest.approx((1 / (1 + np.exp(-(2 * np.log([1.0, 0.25]) + 1)))).tolist(), rel=1e-5)
    far = calibrated(np.asarray([[np.inf], [-300.0], [80.0]], np.float32), unmoved)
    assert np.isfinite(far).all()
    assert (far > 0).all()
    assert (far <= 1).all()


def ranker(arrays=ARRAYS, features=FEATURES, **parameters) -> SlateRanker:
    return SlateRanker(Fitted({"features": list(features), **parameters}, arrays))


CHOICES = {
    "": {"order": "ranker", "objective": "ranker"},
    "home": {"order": "fusion", "objective": "ranker"},
    "search": {"order": "rank fusion", "objective": "fusion"},
}


def test_each_scenario_is_ordered_by_what_validation_chose():
    one = ranker(choices=CHOICES)
    assert one.method("home", None, is_cold=False) == "fusion"
    assert one.method("home", Objective(purchase=1), is_cold=False) == "ranker"
    assert one.method("search", None, is_cold=False) == "rank fusion"
    assert one.method("unheard of", None, is_cold=False) == "ranker", "by the whole shop"
    assert one.method("home", Objective(), is_cold=True) == "fusion", (
        "people without a history have a choice of their own"
    )
    assert ranker(choices={**CHOICES, "without history": CHOICES[""]}).method("home", None, is_cold=True) == "ranker"


def test_without_a_fitted_ranker_the_fusion_stands():
    assert SlateRanker(Fitted()).method("home", None, is_cold=False) == "fusion"
    assert ranker({}, choices=CHOICES).method("", None, is_cold=False) == "fusion"
    assert ranker(features=FEATURES[:-1], choices=CHOICES).method("", None, is_cold=False) == "fusion"


def test_words_are_left_to_the_fusion_unless_they_were_learned():
    asked = Moment(query_T=np.ones(3, np.float32))
    assert ranker(choices=CHOICES).method("", None, False, asked) == "fusion"
    assert ranker(choices=CHOICES, knows_words=True).method("", None, False, asked) == "ranker"
    unlike = Moment(not_like_XT=np.ones((1, 3), np.float32))
    assert ranker(choices=CHOICES, knows_words=True).method("", None, False, unlike) == "fusion"


def test_broken_features_never_reach_a_score():
    one = ranker(choices=CHOICES, median_price=5.0)
    features_FC = np.random.default_rng(0).normal(size=(len(FEATURES), 9)).astype(np.float32)
    features_FC[:, 0], features_FC[:, 1], features_FC[:, 2] = np.nan, np.inf, -np.inf
    scores_C = one.scores(
        features_FC, "home", np.zeros(4, np.float32), Objective(value=1), np.full(9, np.nan, np.float32)
    )
    assert np.isfinite(scores_C).all()
    assert (scores_C > 0).all()


def test_only_learned_weights_leave_the_order_to_the_ranker():
    assert weights_are_learned({})
    assert weights_are_learned({"two_tower": "learned", "query": 3.0, "editorial": 1.0})
    assert not weights_are_learned({"two_tower": "learned", "new": 0.1})
