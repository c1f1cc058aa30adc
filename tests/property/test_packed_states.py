"""A state comes out of its bytes as it went in, whatever it holds; and a change may come in any order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.catalogue.item import Consent, User
from app.feedback.state import HistoryEntry, Part
from app.privacy.encryption import PLAIN
from app.stores.redis.changes import BETWEEN_ITEMS, fold
from app.stores.redis.packing import pack, unpack
from app.stores.redis.part import Folded, newest_entries
from app.stores.redis.subject import dump_entry

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
moments = st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
times = moments.map(datetime.timestamp)
ids = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=12)
kinds = st.sampled_from(["view", "click", "purchase", "like", "dislike", "rating", "cart_remove"])
entries = st.builds(HistoryEntry, ids, kinds, times, ids)
histories = st.lists(entries, max_size=20).map(newest_entries)
figures = st.dictionaries(ids, times, max_size=8)
counts = st.dictionaries(ids, st.floats(0.0, 500.0), max_size=30)
showings = st.builds(
    lambda at, items: orjson.dumps((round(at.timestamp()), BETWEEN_ITEMS.join(items))).decode(),
    st.datetimes(NOW.replace(tzinfo=None, month=1), NOW.replace(tzinfo=None), timezones=st.just(UTC)),
    st.lists(ids, min_size=1, max_size=6, unique=True),
)
users = st.builds(
    User, ids, st.none() | st.text(max_size=20), st.none() | st.integers(0, 120), tags=st.lists(ids, max_size=3).map(tuple),
    attributes=st.dictionaries(ids, st.lists(st.integers()), max_size=2), consent=st.builds(Consent, st.booleans(), st.booleans()),
    created_at=st.none() | moments,
)  # fmt: skip


@given(histories, figures, counts, figures, st.none() | users)
def test_a_state_comes_out_as_it_went_in(
    history: tuple[HistoryEntry, ...], purchased: dict[str, float], seen: dict[str, float], dismissed: dict[str, float],
    profile: User | None,
) -> None:  # fmt: skip
    found = unpack(pack(Part(history, purchased, seen, dismissed, profile), NOW, PLAIN), NOW, PLAIN).part
    assert tuple(found.history) == history
    assert (found.purchased, found.dismissed, found.profile) == (purchased, dismissed, profile)
    assert found.seen == pytest.approx(seen, rel=1e-4, abs=1e-9)
    week_later = unpack(pack(found, NOW, PLAIN), NOW + timedelta(days=7), PLAIN).part
    assert week_later.seen == pytest.approx({item: count / 2 for item, count in seen.items()}, rel=2e-4, abs=1e-9)


@given(st.lists(entries, max_size=12, unique_by=lambda entry: entry.event_id), st.randoms())
def test_events_fold_in_any_order_and_any_number_of_times(done: list[HistoryEntry], draw: object) -> None:
    start = Part((), {}, {"x": 1.0}, {}, None)
    nothing = Folded(start, start)
    mixed = [*done, *done[:3]]
    draw.shuffle(mixed)  # type: ignore[attr-defined]
    as_done, as_mixed = (fold(nothing, b"".join(b"," + dump_entry(entry).encode() for entry in some), NOW) for some in (done, mixed)) if done else (nothing, nothing)  # fmt: skip
    assert tuple(as_mixed.part.history) == tuple(as_done.part.history)
    assert (as_mixed.part.purchased, as_mixed.part.dismissed) == (as_done.part.purchased, as_done.part.dismissed)


@given(histories, counts, figures, st.lists(entries.map(dump_entry) | showings, min_size=1, max_size=12), st.data())
def test_changes_fold_in_one_after_the_other_as_all_at_once(
    history: tuple[HistoryEntry, ...], seen: dict[str, float], dismissed: dict[str, float], changes: list[str], data: st.DataObject,
) -> None:  # fmt: skip
    packed = Part(history, {}, seen, dismissed, None)
    folded = Folded(packed, packed)
    whole = fold(folded, text_of(changes), NOW)
    while changes:
        num = data.draw(st.integers(1, len(changes)))
        folded, changes = fold(folded, text_of(changes[:num]), NOW), changes[num:]
    assert folded == whole
    assert packed == (history, {}, seen, dismissed, None), "who was given it before still reads it"


def text_of(changes: list[str]) -> bytes:
    return "".join(f",{change}" for change in changes).encode()
