"""What of a group of events goes on to the live state."""

from __future__ import annotations

from datetime import UTC, datetime

from app.feedback.event import Event
from app.feedback.intake import fresh

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_of_an_id_that_comes_twice_the_first_goes_on_as_in_the_store() -> None:
    first, second, known = (Event(name, "click", item, NOW) for name, item in (("a", "x"), ("a", "y"), ("b", "x")))
    assert fresh([first, known, second], {"a"}) == [first]
    assert fresh([known], set()) == []
    assert fresh([first, known], {"a", "b"}) == [first, known]
