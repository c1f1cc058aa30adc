"""Sources that read the moment of a request: trends, pins, a query. Shapes: N trained items, M delta items."""

from dataclasses import replace

import numpy as np
import pytest

from app.features.moment import Moment
from app.features.users import UserBatch
from app.retrieval.sources import EditorialSource, QuerySource, TrendingSource
from app.retrieval.sources.moment import PLACEMENT_SHRINKAGE, UNLIKE_LEAST, blend_trends
from tests.unit.retrieval.sources.test_sources import N, content, found, space, user, without


def at_moment(moment: Moment) -> UserBatch:
    return replace(user(), moment_B=(moment,))


def rows(*values: int) -> np.ndarray:
    return np.asarray(values, np.int64)


def test_trends_come_with_their_shares_and_the_filter_before_the_cut() -> None:
    moment = Moment(trending_rows_K=rows(3, 0, 4), trending_scores_K=np.array([0.5, 0.3, 0.1], np.float32))
    users = at_moment(moment)
    assert list(found(TrendingSource(), users, space())) == [3, 0, 4]
    two, scores = TrendingSource().find(users, space(), 2, without(3))
    assert two.tolist() == [[0, 4]]
    assert scores[0] == pytest.approx([0.3, 0.1])
    assert found(TrendingSource(), user(), space()) == {}  # Redis was away


def test_each_shopper_of_a_batch_has_a_moment_of_their_own() -> None:
    one = Moment(trending_rows_K=rows(1), trending_scores_K=np.ones(1, np.float32))
    other = Moment(trending_rows_K=rows(2), trending_scores_K=np.ones(1, np.float32))
    lone = user()
    both = UserBatch(
        np.repeat(lone.history_BL, 2, 0), np.repeat(lone.kinds_BL, 2, 0), np.repeat(lone.ages_BL, 2, 0),
        np.repeat(lone.profile_BT, 2, 0), np.zeros(2, np.int64), (one, other),
    )  # fmt: skip
    assert TrendingSource().find(both, space(), 5, None)[0].tolist() == [[1], [2]]
    assert TrendingSource().find(both.take(np.array([1])), space(), 5, None)[0].tolist() == [[2]]


def test_new_items_trend_and_rows_that_retrieval_does_not_know_yet_wait() -> None:
    moment = Moment(trending_rows_K=rows(N, N + 7, 1), trending_scores_K=np.array([3, 2, 1], np.float32))
    assert list(found(TrendingSource(), at_moment(moment), space([-1]))) == [N, 1]


def test_a_placement_with_few_events_leans_on_the_shop() -> None:
    own = rows(1), np.array([2.0], np.float32)
    shop = rows(0, 1), np.array([90.0, 10.0], np.float32)
    blended, scores = blend_trends(own, shop)
    total = 2.0 + PLACEMENT_SHRINKAGE
    assert blended.tolist() == [0, 1]
    assert scores == pytest.approx([0.9 * PLACEMENT_SHRINKAGE / total, (2.0 + 0.1 * PLACEMENT_SHRINKAGE) / total])
    many = rows(1), np.array([2_000.0], np.float32)
    assert blend_trends(many, shop)[0].tolist() == [1, 0]
    nothing = rows(), np.empty(0, np.float32)
    assert blend_trends(nothing, nothing)[0].tolist() == []


def test_pins_are_candidates_in_the_order_of_their_positions() -> None:
    users = at_moment(Moment(pinned_rows_K=rows(4, 2)))
    assert found(EditorialSource(), users, space()) == {4: 1.0, 2: 0.5}
    assert found(EditorialSource(), users, space(), without(4)) == {2: 0.5}


def test_a_query_finds_what_reads_like_it_new_items_included() -> None:
    texts = content()
    delta = texts.project(np.array([[0, 3], [1, 0]], np.float32))
    at = space([-1, 0], content=delta)
    source = QuerySource(texts)
    users = at_moment(Moment(query_T=np.array([0.0, 1.0], np.float32)))
    scores = found(source, users, at)
    assert list(scores)[:2] == [2, 5]
    assert scores[5] == pytest.approx(1.0)
    assert 0 not in scores  # it stands in the delta now
    assert 4 not in scores  # it has no text
    assert 2 not in found(source, users, at, without(2, 7))
    assert found(source, user(), at) == {}


def test_only_who_asked_is_answered() -> None:
    lone, asked = user(), Moment(query_T=np.array([1.0, 0.0], np.float32))
    both = UserBatch(
        np.repeat(lone.history_BL, 2, 0), np.repeat(lone.kinds_BL, 2, 0), np.repeat(lone.ages_BL, 2, 0),
        np.repeat(lone.profile_BT, 2, 0), np.zeros(2, np.int64), (Moment(), asked),
    )  # fmt: skip
    found_rows = QuerySource(content()).find(both, space(), 2, None)[0]
    assert found_rows.tolist() == [[-1, -1], [0, 1]]


def test_what_is_not_wanted_is_lowered_by_how_much_it_reads_like_the_phrase() -> None:
    source = QuerySource(content())
    phrases = np.array([[1.0, 0.0]], np.float32)
    factor = source.unlike(phrases, rows(0, 1, 2, 3, 4), space())
    assert factor[2] == 1.0
    assert factor[4] == 1.0
    assert UNLIKE_LEAST <= factor[0] < 1.0
    assert factor[0] <= factor[1] < factor[3]
