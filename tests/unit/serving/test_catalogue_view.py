from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from app.catalogue.item import Item, ItemChanges
from app.retrieval.columns import Columns
from app.retrieval.filters import parse_filter
from app.serving.catalogue_view import NOWHERE, CatalogueView

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def view_of(*items: Item) -> CatalogueView:
    ids = [item.item_id for item in items]
    return CatalogueView(0, Columns.from_items(items), ids, {item_id: row for row, item_id in enumerate(ids)})


def shown(view: CatalogueView, spec: object = None, now: datetime = NOW) -> set[str]:
    mask_R = view.visible(now)
    if spec is not None:
        mask_R = mask_R & view.matching(parse_filter(spec), now, None)
    return {view.id_at(row) for row in np.flatnonzero(mask_R).tolist()}


def test_changed_columns_hold_on_the_row_the_item_has():
    old = view_of(Item("a", price=5.0), Item("b", price=5.0))
    new = old.apply(ItemChanges(1, (Item("a", price=60.0),)))
    assert shown(old, {"field": "price", "lt": 50}) == {"a", "b"}
    assert shown(new, {"field": "price", "lt": 50}) == {"b"}
    assert (new.row("a"), new.revision) == (0, 1)


def test_new_items_get_rows_behind_and_removed_ones_keep_theirs_hidden():
    view = view_of(Item("a")).apply(ItemChanges(1, (Item("n"),))).apply(ItemChanges(2, (), ("a", "n", "never known")))
    assert shown(view) == set()
    assert (view.row("a"), view.row("n"), view.row("never known")) == (0, 1, None)
    assert (view.num_items, view.items(["a", "n"])) == (0, [])
    back = view.apply(ItemChanges(3, (Item("n", title="again"),)))
    assert shown(back) == {"n"}
    assert back.row("n") == 1


def test_an_item_moved_to_the_delta_is_shown_once():
    view = view_of(Item("a"), Item("b")).apply(ItemChanges(1, (Item("a", title="rewritten"),)))
    moved = view.move_to_delta(["a"])
    assert shown(moved) == {"a", "b"}
    assert np.flatnonzero(moved.visible(NOW)).tolist() == [1, 2]
    assert moved.item("a") == Item("a", title="rewritten")
    assert moved.num_items == 2
    assert moved.places(["a", "c", "b"]) == [2, NOWHERE, 1]
    assert moved.ids_at([2, 1]) == ["a", "b"]
    assert view.places(["c", "b"]) == [NOWHERE, 1]
    assert shown(moved.apply(ItemChanges(2, (Item("a", available=False),)))) == {"b"}


def test_who_is_visible_is_looked_up_again_only_when_it_changes():
    day = timedelta(days=1)
    view = view_of(Item("a", published_at=NOW + day), Item("b", expires_at=NOW + 2 * day), Item("c"))
    first = view.visible(NOW)
    assert view.visible(NOW + day - timedelta(microseconds=1)) is first
    for at, expected in (
        (NOW, {"b", "c"}),
        (NOW + day, {"a", "b", "c"}),
        (NOW + 2 * day, {"a", "c"}),
        (NOW - day, {"b", "c"}),
    ):
        assert shown(view, now=at) == expected
        assert view.num_visible(at) == len(expected)
    assert not view.visible(NOW).flags.writeable
    newer = view.apply(ItemChanges(1, (Item("c", available=False),)))
    assert shown(newer) == {"b"}
    assert shown(view) == {"b", "c"}


def test_publication_and_expiry_count_at_the_time_of_the_request():
    view = view_of(Item("ends", expires_at=NOW)).apply(ItemChanges(1, (Item("begins", published_at=NOW),)))
    assert shown(view, now=NOW - timedelta(seconds=1)) == {"ends"}
    assert shown(view, now=NOW) == {"begins"}


def test_newest_first_whether_trained_or_new():
    days = [timedelta(days=n) for n in range(5)]
    view = view_of(Item("old", created_at=NOW - days[4]), Item("undated"), Item("back", created_at=NOW - days[3]))
    view = view.apply(ItemChanges(1, (Item("fresh", created_at=NOW - days[1]), Item("back", published_at=NOW))))
    everything = np.ones(len(view), np.bool_)
    assert [view.id_at(row) for row in view.newest(everything, 10)] == ["back", "fresh", "old", "undated"]
    assert [view.id_at(row) for row in view.newest(everything, 2)] == ["back", "fresh"]
    assert view.newest(~everything, 2).tolist() == []


ids = st.sampled_from([f"i{n}" for n in range(12)])
items = st.builds(Item, item_id=ids, price=st.none() | st.sampled_from([1.0, 60.0]), available=st.booleans())
changes = st.tuples(
    st.lists(items, max_size=4, unique_by=lambda item: item.item_id), st.lists(ids, max_size=2), st.booleans()
)


@settings(max_examples=150, deadline=None)
@given(st.lists(items, max_size=4, unique_by=lambda item: item.item_id), st.lists(changes, max_size=12))
def test_any_run_of_changes_shows_what_a_dictionary_would(trained, runs):
    view, expected = view_of(*trained), {item.item_id: item for item in trained}
    for revision, (described, removed, do_move) in enumerate(runs, start=1):
        gone = tuple(item_id for item_id in removed if item_id not in {item.item_id for item in described})
        view = view.apply(ItemChanges(revision, tuple(described), gone))
        expected |= {item.item_id: item for item in described}
        expected = {item_id: item for item_id, item in expected.items() if item_id not in gone}
        if do_move:
            view = view.move_to_delta([item.item_id for item in described])
    assert shown(view) == {i for i, item in expected.items() if item.available}
    cheap = {i for i, item in expected.items() if item.available and item.price is not None and item.price < 50}
    assert shown(view, {"field": "price", "lt": 50}) == cheap
    assert {item.item_id: item for item in view.items([f"i{n}" for n in range(12)])} == expected
    assert view.num_items == len(expected)
    sizes = [len(block.items) for block in view.blocks]
    assert all(before > 2 * after for before, after in pairwise(sizes))
