"""Whatever the catalogue, the scenario, the request and the shopper's state: what a slate promises, it keeps."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.catalogue.item import Item, ItemChanges
from app.feedback.state import HistoryEntry, UserState
from app.retrieval.filters import parse_filter
from app.retrieval.sources import SOURCE_NAMES
from app.scenarios.defaults import READY_MADE
from app.scenarios.scenario import Boost, Caps, Exclusions, Pin, Promotion, Rotation, Scenario
from app.serving import pipeline
from app.serving.composition.promotions import num_wanted
from app.serving.live import LiveSnapshot
from app.serving.page import without_shown
from app.serving.pipeline import Draft, complete_slate, draft_slate
from app.serving.ranking import rank
from app.serving.slate import SlateRequest
from tests.integration.serving.conftest import NOW, encoder, make_items, shop, trained
from tests.integration.serving.slates import asked_of, draft_of, ids_of, live_of

__all__ = ["encoder", "shop", "trained"]  # fixtures
IDS = [item.item_id for item in make_items()]
NEW = [f"new-{n}" for n in range(6)]
DAY = 86_400.0
ids = st.sampled_from([*IDS, *NEW, "unknown"])
filters = st.sampled_from(
    [
        {"field": "price", "lt": 20}, {"field": "price", "gt": 1e6}, {"field": "category", "contains": "Fishing"},
        {"field": "brand", "eq": "fish-brand-1"}, {"field": "tags", "contains": "whisk"},
        {"and": [{"field": "brand", "eq": "cook-brand-0"}, {"field": "price", "gte": 20}]},
        {"field": "age_days", "lt": 61}, {"not": {"field": "category", "contains": "Fishing"}},
    ]
)  # fmt: skip
shares = st.sampled_from([0.0, 0.0, 0.1, 0.3, 0.5, 1.0])
moments = st.none() | st.integers(-2, 2).map(lambda days: NOW + timedelta(days=days))
ages = st.integers(0, 400).map(lambda hours: NOW.timestamp() - hours * 3_600)
pins = st.builds(Pin, st.integers(1, 30), ids, moments, moments)
scenarios = st.builds(
    Scenario,
    name=st.sampled_from(["home", "similar", "of_this_test"]),
    description=st.just("Anything."),
    sources=st.dictionaries(st.sampled_from(SOURCE_NAMES), st.sampled_from([0.0, 0.5, 1.0]), max_size=4),
    filter=st.none() | filters,
    exclude=st.builds(Exclusions, st.sampled_from([0.0, 5.0]), st.sampled_from([0.0, 2.0]), st.booleans()),
    n=st.integers(1, 30),
    fallback=st.sampled_from([(), ("popular",), ("new", "home"), ("content",)]),
    boosts=st.lists(st.builds(Boost, filters, st.sampled_from([0.1, 3.0, 10.0])), max_size=2).map(tuple),
    pins=st.lists(pins, max_size=3).map(tuple),
    page_promotions=st.lists(st.builds(Promotion, filters, shares), max_size=2).map(tuple),
    diversity=shares,
    calibration=shares,
    caps=st.builds(Caps, st.none() | st.integers(1, 3), st.none() | st.integers(1, 3)),
    exploration=shares,
    exploration_method=st.sampled_from(["thompson", "epsilon"]),
    rotation=st.none() | st.builds(Rotation, shares, st.just(60.0)),
    freshness_half_life_days=st.none() | st.sampled_from([1.0, 90.0]),
)
requests = st.builds(
    SlateRequest,
    scenario=st.just("of_this_test"),
    user_id=st.sampled_from([None, "anna", "bo"]),
    context_items=st.lists(ids, max_size=2).map(tuple),
    n=st.none() | st.sampled_from([1, 7, 200]),
    filter=st.none() | filters,
    boosts=st.lists(st.builds(Boost, filters, st.sampled_from([0.1, 3.0, 10.0])), max_size=2).map(tuple),
    exclude_items=st.frozensets(ids, max_size=20),
    diversity=st.none() | shares,
    diagnostics=st.booleans(),
    seed=st.integers(0, 9),
)
history = st.lists(
    st.builds(HistoryEntry, ids, st.sampled_from(["click", "purchase", "dislike"]), ages, ids), max_size=5
)
states = st.builds(
    UserState,
    history=history.map(lambda entries: tuple(sorted(entries, key=lambda entry: entry.occurred_at))),
    purchased=st.dictionaries(ids, ages, max_size=5),
    seen=st.dictionaries(ids, st.sampled_from([0.5, 2.0, 7.0]), max_size=70),
    dismissed=st.dictionaries(ids, ages, max_size=3),
)
new_items = st.builds(
    Item, st.sampled_from(NEW), title=st.just("a new rod"), category=st.sampled_from([(), ("Fishing",), ("Fishing", "Rods")]),
    brand=st.none() | st.just("fish-brand-1"), price=st.none() | st.just(15.0), available=st.booleans(), expires_at=moments,
    created_at=st.just(NOW),
)  # fmt: skip
catalogues = st.builds(
    lambda items, gone: ItemChanges(2, tuple(items), tuple(gone)),
    st.lists(new_items, max_size=6, unique_by=lambda item: item.item_id),
    st.sets(st.sampled_from(IDS), max_size=60),
)
broken = st.lists(st.sampled_from([math.nan, math.inf, -math.inf]), max_size=4)


@pytest.fixture(scope="module")
def live(trained, encoder) -> LiveSnapshot:
    return live_of(trained, encoder)


def matching(live: LiveSnapshot, draft_asked) -> np.ndarray:
    """bool [R], from the words of the contract alone: what may be in the slate."""
    request, scenario, state, view = draft_asked.request, draft_asked.scenario, draft_asked.state, live.catalogue
    may_R = view.visible(NOW).copy()
    for spec in (request.filter, scenario.filter):
        if spec is not None:
            may_R &= view.matching(parse_filter(spec), NOW, None)
    out = set(request.exclude_items) | set(state.dismissed)
    out |= set(request.context_items) if scenario.exclude.context_items else set()
    days = scenario.exclude.purchased_days
    out |= {item for item, at in state.purchased.items() if days and at >= NOW.timestamp() - days * DAY}
    may_R[view.rows(out)] = False
    enough = scenario.exclude.seen_impressions
    unseen_R = may_R.copy()
    unseen_R[view.rows(item for item, times in state.seen.items() if enough and times >= enough)] = False
    return unseen_R if unseen_R.any() else may_R


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(catalogues, scenarios, requests, states, broken)
def test_a_slate_keeps_what_it_promises(live, monkeypatch, changes, scenario, request, state, broken):
    live = replace(live, catalogue=live.catalogue.apply(changes))

    def rank_badly(asked, live, found):
        (ranking,) = rank(asked, live, found)
        scores_C = ranking.scores_C.copy()
        scores_C[: len(broken)] = broken[: len(scores_C)]
        return [replace(ranking, scores_C=scores_C)]

    monkeypatch.setattr(pipeline, "rank", rank_badly)
    draft = draft_of(live, scenario, request, state)
    may_R, picks, view = matching(live, draft.asked), draft.picks, live.catalogue
    rows, n = [pick.row for pick in picks], draft.asked.n

    assert len(set(ids_of(draft))) == len(rows), "no item twice"
    assert may_R[rows].all(), "nothing that a filter or an exclusion keeps out"
    assert len(rows) == min(n, np.count_nonzero(may_R)), "short only when nothing is left"
    assert all(math.isfinite(pick.score) and 0 < pick.propensity <= 1 for pick in picks)

    held: dict[int, str] = {}
    for pin in scenario.pins:
        holds = (pin.from_at or NOW) <= NOW and (pin.until_at is None or pin.until_at > NOW) and pin.position <= n
        row = view.row(pin.item_id)
        if holds and row is not None and may_R[row] and pin.position not in held and pin.item_id not in held.values():
            held[pin.position] = pin.item_id
    for position, item_id in held.items():
        if position <= len(rows):
            assert ids_of(draft)[position - 1] == item_id, "pins in place"
        else:
            assert item_id in ids_of(draft)

    if scenario.page_promotions:
        first = scenario.page_promotions[0]
        match_R = view.matching(parse_filter(first.filter), NOW, None)
        possible = min(num_wanted(first.share, len(rows)), int(np.count_nonzero(match_R & may_R)))
        room = len(rows) - sum(not match_R[view.row(item_id)] for item_id in held.values())
        assert np.count_nonzero(match_R[rows]) >= min(possible, room), "the share is kept"

    again = draft_of(live, scenario, request, state)
    assert again.picks == picks, "the same request with the same seed is the same slate"


@settings(max_examples=40, deadline=None)
@given(catalogues, st.lists(st.tuples(scenarios, requests), min_size=2, max_size=4), states)
def test_the_slates_of_a_page_are_disjoint_and_each_as_long_as_what_is_left(live, changes, wishes, state):
    live = replace(live, catalogue=live.catalogue.apply(changes))
    shown: frozenset[str] = frozenset()
    drafts: list[Draft] = []
    for scenario, request in wishes:
        drafts.append(draft_slate(without_shown(asked_of(scenario, request, state), live, drafts), live))
        complete_slate(drafts[-1], [], READY_MADE.get)
    for draft, (_, request) in zip(drafts, wishes, strict=True):
        left = replace(draft.asked, request=replace(request, exclude_items=request.exclude_items | shown))
        may_R = matching(live, left)
        rows = [pick.row for pick in draft.picks]
        assert may_R[rows].all()
        assert len(set(rows)) == len(rows) == min(draft.asked.n, np.count_nonzero(may_R))
        assert not shown & set(ids_of(draft))
        shown |= set(ids_of(draft))


@settings(max_examples=30, deadline=None)
@given(catalogues, scenarios, requests, states)
def test_what_follows_goes_through_all_that_may_be_shown_once(live, changes, scenario, request, state):
    """As `recommend_next` asks: the same request without what was shown."""
    live = replace(live, catalogue=live.catalogue.apply(changes))
    scenario, request = replace(scenario, n=max(scenario.n, 7)), replace(request, n=max(request.n or 7, 7))
    first = draft_of(live, scenario, request, state)
    shown, draft = ids_of(first), first
    while draft.num_left > 0:
        draft = draft_of(live, scenario, replace(request, exclude_items=request.exclude_items | {*shown}), state)
        assert draft.picks
        shown += ids_of(draft)
    assert len(shown) == len(set(shown))
    assert set(shown) == {live.catalogue.id_at(row) for row in np.flatnonzero(matching(live, first.asked)).tolist()}


@settings(max_examples=40, deadline=None)
@given(
    scenarios.map(lambda scenario: replace(scenario, pins=())),
    st.sampled_from([(0.5, 0.5), (0.3, 0.7), (0.1, 0.5), (0.25, 0.0)]),
    states,
)
def test_two_promotions_have_their_shares_at_once(live, scenario, shares, state):
    kitchen, fishing = ({"field": "category", "contains": name} for name in ("Kitchen", "Fishing"))
    promotions = (Promotion(kitchen, shares[0]), Promotion(fishing, shares[1]))
    draft = draft_of(live, replace(scenario, page_promotions=promotions, filter=None), state=state)
    rows, may_R = [pick.row for pick in draft.picks], matching(live, draft.asked)
    for promotion in promotions:
        match_R = live.catalogue.matching(parse_filter(promotion.filter), NOW, None)
        wanted = math.floor(promotion.share * len(rows) + 1e-9)  # two shares rounded up may not fit
        assert np.count_nonzero(match_R[rows]) >= min(wanted, int(np.count_nonzero(match_R & may_R)))


@settings(max_examples=40, deadline=None)
@given(scenarios, states, st.integers(1, 30))
def test_caps_hold_wherever_the_shop_has_anything_else(live, scenario, state, n):
    scenario = replace(scenario, caps=Caps(brand=3), page_promotions=(), pins=(), filter=None, n=n)
    draft = draft_of(live, scenario, state=state)
    brands = Counter(live.catalogue.labels(np.asarray([pick.row for pick in draft.picks]), "brand"))
    may_R = matching(live, draft.asked)
    there = Counter(live.catalogue.labels(np.flatnonzero(may_R), "brand"))
    if sum(min(count, 3) for count in there.values()) >= n:
        assert max(brands.values()) <= 3


@settings(max_examples=40, deadline=None)
@given(scenarios, requests, states)
def test_scores_fall_where_no_rule_is_on(live, scenario, request, state):
    plain = Scenario(scenario.name, scenario.description, scenario.sources, n=scenario.n, fallback=scenario.fallback)
    request = replace(request, boosts=(), diversity=None)
    draft = draft_of(live, plain, request, replace(state, dismissed={}))
    assert all(before.score >= after.score for before, after in pairwise(draft.picks))
    assert all((pick.propensity, pick.rules, pick.is_explored) == (1.0, (), False) for pick in draft.picks)
