"""Clause masks are remembered beside the columns they are true of, and nowhere else."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from app.catalogue.item import Item, ItemChanges
from app.retrieval.columns import Columns
from app.retrieval.filters import parse_filter
from app.retrieval.mask_cache import MaskCache
from app.serving.catalogue_view import CatalogueView

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
ITEMS = [
    Item("a", brand="X", price=10.0, created_at=NOW - timedelta(days=3)),
    Item("b", brand="Y", price=20.0),
    Item("c"),
]


def view() -> CatalogueView:
    ids = [item.item_id for item in ITEMS]
    return CatalogueView(1, Columns.from_items(ITEMS), ids, {item_id: row for row, item_id in enumerate(ids)})


def test_the_second_time_nothing_is_computed() -> None:
    columns = Columns.from_items(ITEMS)
    wanted = {"and": [{"field": "price", "lt": 15}, {"field": "brand", "eq": "X"}]}
    first = parse_filter(wanted).mask(columns, NOW)
    assert columns.masks.hits == 0
    assert parse_filter(wanted).mask(columns, NOW).tolist() == first.tolist() == [True, False, False]
    assert columns.masks.hits == 2
    parse_filter({"field": "price", "lt": 15}).mask(columns, NOW)  # another filter with the same clause
    assert columns.masks.hits == 3


def test_what_is_remembered_cannot_be_altered() -> None:
    columns = Columns.from_items(ITEMS)
    mask = parse_filter({"field": "price", "lt": 15}).mask(columns, NOW)
    with pytest.raises(ValueError, match="read-only"):
        mask[0] = False


def test_kinds_of_values_are_not_mixed_up() -> None:
    columns = Columns.from_items(
        [Item("a", attributes={"n": 1}), Item("b", attributes={"n": True}), Item("c", attributes={"n": "1"})]
    )
    masks = [
        parse_filter({"field": "attributes.n", "eq": value}).mask(columns, NOW).tolist() for value in (1, True, "1")
    ]
    assert masks == [[True, False, False], [False, True, False], [False, False, True]]


def test_a_moved_catalogue_is_looked_at_anew() -> None:
    before, wanted = view(), parse_filter({"field": "price", "lt": 15})
    assert before.matching(wanted, NOW, None).tolist() == [True, False, False]
    after = before.apply(ItemChanges(2, [Item("b", brand="Y", price=12.0), Item("d", price=1.0)], [], False))
    assert after.matching(wanted, NOW, None).tolist() == [True, True, False, True]
    assert before.matching(wanted, NOW, None).tolist() == [True, False, False]
    later = after.apply(ItemChanges(3, [Item("a", price=99.0)], [], False))
    assert later.matching(wanted, NOW, None).tolist() == [False, True, False, True]


def test_ages_and_visibility_follow_the_clock() -> None:
    columns = Columns.from_items(
        [*ITEMS, Item("soon", published_at=NOW + timedelta(days=1)), Item("gone", expires_at=NOW + timedelta(days=1))]
    )
    young = parse_filter({"field": "age_days", "lt": 4})
    assert young.mask(columns, NOW).tolist() == [True, False, False, True, False]
    assert young.mask(columns, NOW + timedelta(days=2)).tolist() == [False, False, False, True, False]
    assert columns.visible(NOW).tolist() == [True, True, True, False, True]
    assert columns.visible(NOW + timedelta(days=2)).tolist() == [True, True, True, True, False]


def test_the_viewed_item_is_part_of_the_question() -> None:
    columns = Columns.from_items(ITEMS)
    same_brand = parse_filter({"field": "brand", "eq": {"context_item": "brand"}})
    assert same_brand.mask(columns, NOW, ITEMS[0]).tolist() == [True, False, False]
    assert same_brand.mask(columns, NOW, ITEMS[1]).tolist() == [False, True, False]
    assert same_brand.mask(columns, NOW, ITEMS[2]).tolist() == [False, False, False]


def test_memory_is_bounded_and_the_least_used_goes_first() -> None:
    cache, made = MaskCache(max_bytes=250, max_masks=10), list[int]()

    def mask_of(key: int) -> np.ndarray:
        def make() -> np.ndarray:
            made.append(key)
            return np.zeros(100, np.bool_)

        return cache.get(key, make)

    for key in (1, 2, 1, 3, 1, 2):
        mask_of(key)
    assert made == [1, 2, 3, 2]  # 3 pushed 2 out, not 1
    assert len(cache) == 2
    many = MaskCache(max_masks=3)
    for key in range(9):
        many.get(key, lambda: np.zeros(1, np.bool_))
    assert len(many) == 3
