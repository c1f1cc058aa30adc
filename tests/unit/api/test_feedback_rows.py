"""Events row by row: what is good, what is rejected and why, in the order of the rows."""

from datetime import timedelta
from typing import Any

import pytest

from app.api.problems import HttpProblem
from app.api.routes.feedback import events_of
from app.feedback.event import API_EVENT_TYPES
from app.types import utc_now

NOW = utc_now()
CLICK = {"type": "click", "item_id": "i", "user_id": "u"}


def fault_of(value: Any) -> dict[tuple[str | int, ...], str]:
    with pytest.raises(HttpProblem) as caught:
        events_of(value, API_EVENT_TYPES, NOW)
    assert caught.value.status == 422
    return {error.loc: error.code for error in caught.value.errors}


def later(minutes: float) -> str:
    return (NOW + timedelta(minutes=minutes)).isoformat()


@pytest.mark.parametrize(
    ("change", "place", "code"),
    [
        ({"type": "clik"}, ("type",), "unknown_event_type"),
        ({"type": "use"}, ("type",), "unknown_event_type"),  # known to imports only
        ({"user_id": None}, ("user_id",), "no_shopper"),
        ({"occurred_at": later(5.1)}, ("occurred_at",), "in_the_future"),
        ({"occurred_at": "2026-01-31T12:00:00"}, ("occurred_at",), "bad_time"),
        ({"position": 0}, ("position",), "out_of_range"),
        ({"quantity": 0}, ("quantity",), "out_of_range"),
        ({"value": "3"}, ("value",), "wrong_type"),
        ({"itemid": "x"}, ("itemid",), "unknown_field"),
        ({"item_id": "x" * 300}, ("item_id",), "too_long"),
    ],
)
def test_a_bad_event_sent_bare_is_refused(change: dict[str, Any], place: tuple[str], code: str) -> None:
    assert fault_of({**CLICK, **change}) == {place: code}


def test_in_a_list_each_row_stands_alone() -> None:
    rows = [CLICK, 7, {**CLICK, "type": "nope"}, {**CLICK, "event_id": "e4"}, {**CLICK, "x": 1}]
    events, rejected = events_of({"events": rows}, API_EVENT_TYPES, NOW)
    assert [event.event_id for event in events][1:] == ["e4"]
    assert [(row.index, row.code) for row in rejected] == [
        (1, "wrong_type"),
        (2, "unknown_event_type"),
        (4, "unknown_field"),
    ]
    assert rejected[2].detail.startswith("x: ")


@pytest.mark.parametrize(
    ("envelope", "place", "code"),
    [
        ({"events": []}, ("events",), "too_few"),
        ({"events": [CLICK] * 1_001}, ("events",), "too_many"),
        ({"events": CLICK}, ("events",), "wrong_type"),
        ({"events": [CLICK], "sync": True}, ("sync",), "unknown_field"),
        ([CLICK], (), "wrong_type"),
        (None, (), "wrong_type"),
    ],
)
def test_a_bad_envelope_is_refused_whole(envelope: Any, place: tuple[str, ...], code: str) -> None:
    assert fault_of(envelope) == {place: code}


def test_what_is_left_out_gets_its_default() -> None:
    (event,), rejected = events_of(CLICK, API_EVENT_TYPES, NOW)
    assert not rejected
    assert event.occurred_at == NOW
    assert len(event.event_id) == 26  # a ULID


def test_five_minutes_of_clock_skew_are_fine() -> None:
    (event,), _ = events_of({**CLICK, "occurred_at": later(4.9)}, API_EVENT_TYPES, NOW)
    assert event.occurred_at > NOW
