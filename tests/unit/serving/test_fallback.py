import numpy as np

from app.catalogue.item import Item
from app.retrieval.columns import Columns
from app.serving.catalogue_view import CatalogueView
from app.serving.fallback import Pick, fill, popular_rows, steps_of
from app.serving.live import LiveSnapshot

ITEMS = [Item(name) for name in "abcd"]
LIVE = LiveSnapshot(
    CatalogueView(0, Columns.from_items(ITEMS), list("abcd"), {name: row for row, name in enumerate("abcd")})
)


def test_the_chain_of_a_scenario_always_ends_in_what_holds_something():
    assert list(steps_of(())) == ["popular", "new"]
    assert list(steps_of(("new", "home"))) == ["new", "home", "popular"]


def test_trending_items_come_in_their_order_if_allowed_and_known():
    allowed_R = np.array([True, True, False, True])
    assert popular_rows(LIVE, ["d", "nowhere", "c", "a"], allowed_R, 5).tolist() == [3, 0]
    assert popular_rows(LIVE, ["d", "a"], allowed_R, 1).tolist() == [3]


def test_filled_places_follow_with_falling_scores_and_their_source():
    picks = [Pick(2, 0.4, ("two_tower",))]
    assert fill(picks, np.array([0, 1, 3]), "popular", 3)
    assert [(pick.row, pick.sources) for pick in picks] == [(2, ("two_tower",)), (0, ("popular",)), (1, ("popular",))]
    scores = [pick.score for pick in picks]
    assert scores == sorted(scores, reverse=True)
    assert not fill(picks, np.array([3]), "new", 3)
    alone: list[Pick] = []
    fill(alone, np.array([0, 1]), "popular", 2)
    assert alone[0].score == 1.0 > alone[1].score > 0
