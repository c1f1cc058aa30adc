from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from app.catalogue.item import Item
from app.errors import Invalid
from app.feedback.state import UserState
from app.retrieval.columns import Columns
from app.retrieval.filters import parse_filter
from app.scenarios.scenario import Exclusions, Scenario
from app.serving.catalogue_view import CatalogueView
from app.serving.rules import Asked, admit
from app.serving.slate import SlateRequest

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
ITEMS = [
    Item("rod", price=40.0, brand="Acme"), Item("reel", price=60.0, brand="Acme"), Item("pan", price=20.0),
    Item("gone", available=False), Item("soon", published_at=NOW + timedelta(days=1)),
]  # fmt: skip
VIEW = CatalogueView(
    0, Columns.from_items(ITEMS), [i.item_id for i in ITEMS], {item.item_id: row for row, item in enumerate(ITEMS)}
)
HOME = Scenario("home", "Home page.")


def asked(scenario: Scenario = HOME, purchased: dict[str, float] | None = None, **request: object) -> Asked:
    state = UserState(purchased=purchased or {})
    wanted = parse_filter(request["filter"]) if "filter" in request else None
    by_scenario = parse_filter(scenario.filter) if scenario.filter else None
    return Asked(SlateRequest(scenario.name, **request), scenario, wanted, by_scenario, state, None, True, NOW, 10)  # type: ignore[arg-type]


def allowed(request: Asked) -> list[str]:
    admission = admit(request, VIEW)
    assert admission.num_allowed == np.count_nonzero(admission.allowed_R)
    assert admission.base.num_allowed == np.count_nonzero(admission.base.allowed_R)
    return [ITEMS[row].item_id for row in np.flatnonzero(admission.allowed_R)]


def days_ago(days: float) -> float:
    return (NOW - timedelta(days=days)).timestamp()


def test_what_is_not_visible_is_dropped_first():
    admission = admit(asked(), VIEW)
    assert allowed(asked()) == ["rod", "reel", "pan"]
    assert admission.dropped["unavailable"] == 2


def test_purchased_items_stay_away_for_the_days_of_the_scenario():
    purchased = {"rod": days_ago(29.9), "reel": days_ago(30.1), "unknown": days_ago(1), "gone": days_ago(1)}
    assert allowed(asked(purchased=purchased)) == ["reel", "pan"]
    assert admit(asked(purchased=purchased), VIEW).dropped["purchased"] == 1
    email = replace(HOME, exclude=Exclusions(purchased_days=0))
    assert allowed(asked(email, purchased)) == ["rod", "reel", "pan"]
    assert allowed(asked(replace(HOME, exclude=Exclusions(purchased_days=1e12)), purchased)) == ["pan"]


def test_context_items_and_asked_exclusions_are_left_out():
    request = asked(context_items=("rod", "unknown"), exclude_items=frozenset({"pan", "rod"}))
    assert allowed(request) == ["reel"]
    dropped = admit(request, VIEW).dropped
    assert (dropped["context_items"], dropped["exclude_items"]) == (1, 1)
    assert "rod" in allowed(asked(replace(HOME, exclude=Exclusions(context_items=False)), context_items=("rod",)))


def test_what_two_rules_take_away_is_counted_once():
    request = asked(purchased={"rod": days_ago(1)}, exclude_items=frozenset({"rod", "pan", "gone"}))
    assert allowed(request) == ["reel"]
    admission = admit(request, VIEW)
    assert (admission.dropped["purchased"], admission.dropped["exclude_items"]) == (1, 1)
    assert sorted(admission.own_rows.tolist()) == [
        row for row, item in enumerate(ITEMS) if item.item_id in ("rod", "pan")
    ]
    listed_R = np.array([item.item_id in ("rod", "reel") for item in ITEMS])
    assert admission.among(listed_R).num_allowed == 1


def test_a_report_names_some_of_what_was_dropped_to_those_who_ask():
    told = admit(asked(filter={"field": "price", "lt": 50}, diagnostics=True), VIEW).reports
    assert [(report.rule, report.dropped, report.examples) for report in told if report.dropped] == [
        ("unavailable", 2, ()), ("filter", 1, ("reel",)),
    ]  # fmt: skip
    assert not any(report.examples for report in admit(asked(filter={"field": "price", "lt": 50}), VIEW).reports)


def test_both_filters_hold_and_count_apart():
    scenario = replace(HOME, filter={"field": "price", "lt": 50})
    admission = admit(asked(scenario, filter={"field": "brand", "exists": True}), VIEW)
    assert np.flatnonzero(admission.allowed_R).tolist() == [0]
    assert (admission.dropped["scenario_filter"], admission.dropped["filter"]) == (1, 1)


def test_a_filter_on_the_viewed_item_looks_at_the_first_context_item():
    other_brand = {"field": "brand", "ne": {"context_item": "brand"}}
    assert allowed(asked(filter=other_brand, context_items=("reel", "pan"))) == []
    assert allowed(asked(filter=other_brand, context_items=("pan",))) == ["rod", "reel"]
    assert allowed(asked(filter=other_brand, context_items=("unknown",))) == ["rod", "reel", "pan"]


@pytest.mark.parametrize(
    ("request_", "loc"),
    [
        (asked(filter={"field": "brand", "eq": {"context_item": "brand"}}), ("filter", "eq")),
        (asked(replace(HOME, filter={"field": "brand", "eq": {"context_item": "brand"}})), ("context_items",)),
    ],
)
def test_without_a_viewed_item_the_place_of_the_fault_is_the_callers(request_, loc):
    with pytest.raises(Invalid) as error:
        admit(request_, VIEW)
    assert (error.value.code, error.value.loc) == ("filter_context_item_missing", loc)


def test_what_was_shown_too_often_stays_away_unless_nothing_else_is_left():
    scenario = replace(HOME, exclude=Exclusions(seen_impressions=2))

    def seen(**times: float) -> Asked:
        return replace(asked(scenario), state=UserState(seen=times))

    assert allowed(seen(rod=2.0, pan=1.0, gone=9.0, unknown=9.0)) == ["reel", "pan"]
    assert admit(seen(rod=2.0, pan=1.0, gone=9.0), VIEW).dropped["seen"] == 1
    assert admit(seen(gone=9.0, unknown=9.0), VIEW).dropped["seen"] == 0
    everything = admit(seen(rod=2.0, reel=2.0, pan=2.0), VIEW)
    assert everything.lifted == ("seen",)
    assert "seen" not in everything.dropped
    assert np.count_nonzero(everything.allowed_R) == 3
