"""Shapes: E items that may be tried, C candidates."""

import numpy as np
import pytest

from app.serving.composition.exploration import inclusion, systematic
from app.serving.composition.posterior import chances_of_best, neighbour_rates

CHANCES = np.asarray([0.7, 0.1, 0.1, 0.06, 0.04])


@pytest.mark.parametrize("num", [0.4, 1.0, 2.5, 5.0])
def test_inclusion_sums_to_the_number_and_never_exceeds_one(num):
    out_E = inclusion(CHANCES, num)
    assert out_E.sum() == pytest.approx(num)
    assert (out_E <= 1 + 1e-12).all()
    free_E = out_E < 1
    ratios = out_E[free_E] / CHANCES[free_E]
    assert ratios == pytest.approx(ratios[:1].repeat(len(ratios)))


@pytest.mark.parametrize("num", [0.4, 1.0, 2.5])
def test_systematic_draws_meet_the_probabilities_exactly(num):
    out_E = inclusion(CHANCES, num)
    starts = (np.arange(4_000) + 0.5) / 4_000
    drawn = [systematic(out_E, start) for start in starts]
    assert {len(chosen) for chosen in drawn} <= {int(np.floor(num)), int(np.ceil(num))}
    often_E = np.bincount(np.concatenate(drawn), minlength=5) / 4_000
    assert often_E == pytest.approx(out_E, abs=1e-3)


def test_the_chance_of_being_best_is_what_thompson_sampling_draws():
    rate_E, shown_E, acted_E = np.asarray([0.05, 0.05, 0.2, 0.01]), np.asarray([0, 40, 10, 5]), np.asarray([0, 1, 0, 0])
    draw = np.random.default_rng(1)
    a_E, b_E = 10 * rate_E + acted_E, 10 * (1 - rate_E) + shown_E - acted_E
    winners = draw.beta(a_E, b_E, size=(200_000, 4)).argmax(1)
    sampled_E = np.bincount(winners, minlength=4) / 200_000
    assert chances_of_best(rate_E, shown_E, acted_E) == pytest.approx(sampled_E, abs=0.01)


def test_an_item_nobody_saw_is_expected_to_do_as_its_neighbours_in_words():
    texts_CP = np.float32([[1, 0], [1, 0], [0, 1], [0, 1]])
    shown_C, acted_C = np.float32([0, 400, 0, 400]), np.float32([0, 80, 0, 4])
    good, bad = neighbour_rates(texts_CP, shown_C, acted_C, np.asarray([0, 2]))
    assert good == pytest.approx(0.2, abs=0.01)
    assert bad == pytest.approx(0.01, abs=0.01)
    fewer = neighbour_rates(texts_CP, shown_C / 100, acted_C / 100, np.asarray([0, 2]))
    assert bad < fewer[1] < fewer[0] < good
