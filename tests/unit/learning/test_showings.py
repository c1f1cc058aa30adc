"""What was shown, and what followed it."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from app.catalogue.shop_data import EVENT_SCHEMA, SLATE_SCHEMA
from app.feedback.seen import SEEN_HALF_LIFE_SECONDS
from app.learning.dataset import EventLog
from app.learning.showings import NEVER

START = datetime(2026, 3, 1, tzinfo=UTC)
T0 = START.timestamp()
HOUR = 3_600.0


def event(kind, item, hours, user="ann", slate=None, position=None, scenario="home"):
    return {
        "event_id": f"{kind}-{item}-{hours}-{user}", "type": kind, "item_id": item, "user_id": user, "scenario": scenario,
        "recommendation_id": slate, "position": position, "occurred_at": START + timedelta(hours=hours),
    }  # fmt: skip


def read(events, slates=()):
    log = EventLog(pl.Series(["a", "b", "c"]))
    log.add_slates(pl.DataFrame(list(slates), schema=SLATE_SCHEMA))
    log.add(pl.DataFrame(events, schema=EVENT_SCHEMA))
    return log.interactions()


def test_acts_belong_to_the_last_showing_before_them():
    data = read(
        [
            event("impression", "a", 0, slate="s1", position=1),
            event("impression", "b", 0, slate="s1", position=2),
            event("impression", "a", 5, slate="s2", position=3),
            event("click", "a", 5.5),
            event("cart_add", "a", 5.6),
            event("purchase", "a", 30),
            event("click", "b", 40),
        ]
    )
    shown = data.shown
    assert [data.item_ids[item] for item in shown.item_X] == ["a", "b", "a"]
    assert shown.position_X.tolist() == [1, 2, 3]
    assert shown.slate_X[0] == shown.slate_X[1] != shown.slate_X[2]
    assert (shown.acted_at_HX[:, 0] == NEVER).all(), "shown again before the click"
    assert shown.acted_at_HX[:, 2].tolist() == pytest.approx([T0 + 5.5 * HOUR, T0 + 5.6 * HOUR, T0 + 30 * HOUR])
    assert (shown.acted_at_HX[:, 1] == NEVER).all(), "a click after more than a day is not the slate's"
    assert len(data) == 4, "showings are no interactions"


def test_a_purchase_alone_is_a_click_and_a_cart_addition_too():
    shown = read([event("impression", "a", 0, slate="s1", position=1), event("purchase", "a", 1)]).shown
    assert np.isfinite(shown.acted_at_HX).all()


def test_the_services_own_slates_count_once():
    own = {
        "recommendation_id": "s1", "user_id": "ann", "scenario": "home", "item_id": "a", "position": 4, "occurred_at": START,
        "device": "mobile", "country": "nz",
    }  # fmt: skip
    shown = read([event("impression", "a", 0.01, slate="s1"), event("click", "c", 1)], [own]).shown
    assert len(shown) == 1
    assert shown.position_X.tolist() == [4]
    assert shown.places[shown.place_X[0]] == ("mobile", "nz")


def test_showings_of_strangers_and_of_unknown_items_are_left_out():
    data = read([event("impression", "a", 0, user="bob"), event("impression", "x", 0), event("click", "a", 1)])
    assert len(data.shown) == 0


def test_what_was_seen_is_counted_as_the_live_state_counts():
    data = read(
        [
            event("impression", "a", 0, slate="s1"),
            event("impression", "a", 24, slate="s2"),
            event("impression", "b", 0, slate="s1"),
            event("click", "b", 1),
            event("impression", "b", 30, slate="s3"),
            event("impression", "c", 90, slate="s4"),
        ]
    )
    now = T0 + 48 * HOUR
    items, times = data.shown.seen(0, now, data.item_E, data.at_E)
    ages = {"a": [48, 24], "b": [18]}
    expected = [sum(2 ** (-age * HOUR / SEEN_HALF_LIFE_SECONDS) for age in ages[name]) for name in ("a", "b")]
    assert [data.item_ids[item] for item in items] == ["a", "b"]
    assert times.tolist() == pytest.approx(expected, rel=1e-6)
    assert [len(part) for part in data.shown.seen(7, now, data.item_E, data.at_E)] == [0, 0]
