from datetime import UTC, datetime, timedelta

import pytest

from app.catalogue.item import Item
from app.errors import Invalid
from app.retrieval.columns import Columns
from app.retrieval.filters import MAX_CLAUSES, MAX_DEPTH, parse_filter

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
ITEMS = [
    Item("rod", "Carbon rod", brand="Acme", price=49.0, category=("Sport", "Fishing"), tags=("gift", "water"),
         attributes={"colour": "red", "size": 3, "grades": ["a", "b"]}, published_at=NOW - timedelta(days=10)),
    Item("reel", "Reel", brand="Bolt", price=50.0, category=("Sport", "Fishing"), tags=("water",),
         attributes={"colour": 7, "size": 4.5, "kids": True}, created_at=NOW - timedelta(days=1)),
    Item("lamp", "Lamp", category=("Home",), attributes={"colour": None, "size": "3", "box": {"w": 1}}, available=False),
    Item("007"),
]  # fmt: skip


def kept(spec: object, context_item: Item | None = None) -> list[str]:
    mask_N = parse_filter(spec).mask(Columns.from_items(ITEMS), NOW, context_item)
    return [item.item_id for item, is_kept in zip(ITEMS, mask_N, strict=True) if is_kept]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"field": "price", "lt": 50}, ["rod"]),
        ({"field": "price", "lte": 50}, ["rod", "reel"]),
        ({"field": "price", "ne": 50}, ["rod", "lamp", "007"]),
        ({"field": "price", "exists": False}, ["lamp", "007"]),
        ({"field": "price", "in": [49, 1]}, ["rod"]),
        ({"field": "price", "not_in": [49]}, ["reel", "lamp", "007"]),
        ({"field": "price", "in": []}, []),
        ({"not": {"field": "price", "lt": 50}}, ["reel", "lamp", "007"]),
        ({"field": "brand", "eq": "acme"}, []),
        ({"field": "brand", "gte": "B"}, ["reel"]),
        ({"field": "item_id", "eq": "7"}, []),
        ({"field": "item_id", "in": ["007", "lamp"]}, ["lamp", "007"]),
        ({"field": "available", "eq": False}, ["lamp"]),
        ({"field": "tags", "contains": "gift"}, ["rod"]),
        ({"field": "tags", "exists": False}, ["lamp", "007"]),
        ({"field": "category", "contains": "Sport"}, ["rod", "reel"]),
        ({"field": "category", "eq": ["Sport"]}, []),
        ({"field": "category", "eq": ["Sport", "Fishing"]}, ["rod", "reel"]),
        ({"field": "category", "ne": ["Home"]}, ["rod", "reel", "007"]),
        ({"field": "age_days", "lt": 2}, ["reel"]),
        ({"field": "age_days", "gte": 10}, ["rod"]),
        ({"field": "age_days", "exists": True}, ["rod", "reel"]),
        ({"field": "published_at", "gt": "2026-01-21T13:00:00+01:00"}, []),
        ({"field": "published_at", "gte": "2026-01-21T13:00:00+01:00"}, ["rod"]),
        ({"field": "attributes.colour", "eq": "red"}, ["rod"]),
        ({"field": "attributes.colour", "eq": 7}, ["reel"]),
        ({"field": "attributes.colour", "in": ["red", 7, True]}, ["rod", "reel"]),
        ({"field": "attributes.colour", "exists": True}, ["rod", "reel"]),
        ({"field": "attributes.size", "lt": 4}, ["rod"]),
        ({"field": "attributes.size", "lt": "4"}, ["lamp"]),
        ({"field": "attributes.size", "ne": 3}, ["reel", "lamp", "007"]),
        ({"field": "attributes.kids", "eq": True}, ["reel"]),
        ({"field": "attributes.kids", "eq": 1}, []),
        ({"field": "attributes.grades", "contains": "b"}, ["rod"]),
        ({"field": "attributes.box", "exists": True}, ["lamp"]),
        ({"field": "attributes.nobody has it", "exists": False}, ["rod", "reel", "lamp", "007"]),
        ({"field": "attributes.nobody has it", "eq": 1}, []),
        ({"and": [{"field": "price", "gt": 1}, {"field": "tags", "contains": "water"}]}, ["rod", "reel"]),
        ({"or": [{"field": "price", "eq": 49}, {"field": "brand", "exists": False}]}, ["rod", "lamp", "007"]),
    ],
)  # fmt: skip
def test_keeps(spec, expected):
    assert kept(spec) == expected


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"field": "brand", "ne": {"context_item": "brand"}}, ["reel", "lamp", "007"]),
        ({"field": "price", "lte": {"context_item": "price"}}, ["rod"]),
        ({"field": "category", "eq": {"context_item": "category"}}, ["rod", "reel"]),
        ({"field": "tags", "contains": {"context_item": "brand"}}, []),
        ({"field": "brand", "eq": {"context_item": "attributes.colour"}}, []),
        ({"field": "attributes.colour", "eq": {"context_item": "attributes.colour"}}, ["rod"]),
        ({"field": "attributes.grades", "eq": {"context_item": "attributes.grades"}}, ["rod"]),
        ({"field": "brand", "eq": {"context_item": "attributes.grades"}}, []),
        ({"field": "item_id", "in": {"context_item": "tags"}}, []),
        ({"field": "age_days", "lt": {"context_item": "age_days"}}, ["reel"]),
    ],
)
def test_compares_with_the_viewed_item(spec, expected):
    assert kept(spec, context_item=ITEMS[0]) == expected


def test_a_viewed_item_without_the_property_is_equal_to_nothing():
    stub = Item("unknown")
    assert kept({"field": "brand", "eq": {"context_item": "brand"}}, stub) == []
    assert kept({"field": "brand", "ne": {"context_item": "brand"}}, stub) == ["rod", "reel", "lamp", "007"]
    assert kept({"field": "price", "lt": {"context_item": "price"}}, stub) == []


def test_no_viewed_item_is_refused_with_the_place():
    with pytest.raises(Invalid) as error:
        kept({"not": {"field": "brand", "eq": {"context_item": "brand"}}})
    assert error.value.code == "filter_context_item_missing"
    assert error.value.loc == ("filter", "not", "eq")


@pytest.mark.parametrize(
    ("spec", "code", "loc"),
    [
        ([], "filter_bad_clause", ()),
        (None, "filter_bad_clause", ()),
        ({}, "filter_unknown_field", ()),
        ({"lt": 5}, "filter_unknown_field", ()),
        ({"field": "prize", "lt": 5}, "filter_unknown_field", ("field",)),
        ({"field": "attributes.", "lt": 5}, "filter_unknown_field", ("field",)),
        ({"field": ["price"], "lt": 5}, "filter_unknown_field", ("field",)),
        ({"field": "price"}, "filter_bad_clause", ()),
        ({"field": "price", "lt": 5, "gt": 1}, "filter_bad_clause", ()),
        ({"field": "price", "less": 5}, "filter_unknown_operator", ("less",)),
        ({"field": "price", "contains": 5}, "filter_wrong_operator", ("contains",)),
        ({"field": "tags", "lt": "a"}, "filter_wrong_operator", ("lt",)),
        ({"field": "available", "gt": False}, "filter_wrong_operator", ("gt",)),
        ({"field": "price", "lt": "5"}, "filter_bad_value", ("lt",)),
        ({"field": "price", "lt": True}, "filter_bad_value", ("lt",)),
        ({"field": "price", "lt": None}, "filter_bad_value", ("lt",)),
        ({"field": "price", "lt": float("nan")}, "filter_bad_value", ("lt",)),
        ({"field": "price", "lt": 10**400}, "filter_bad_value", ("lt",)),
        ({"field": "price", "in": 5}, "filter_bad_value", ("in",)),
        ({"field": "price", "in": [5, "6"]}, "filter_bad_value", ("in", 1)),
        ({"field": "brand", "in": "Acme"}, "filter_bad_value", ("in",)),
        ({"field": "brand", "eq": "\ud800"}, "filter_bad_value", ("eq",)),
        ({"field": "tags", "eq": []}, "filter_bad_value", ("eq",)),
        ({"field": "tags", "eq": ["a", 1]}, "filter_bad_value", ("eq", 1)),
        ({"field": "price", "exists": 1}, "filter_bad_value", ("exists",)),
        ({"field": "published_at", "lt": "2026-01-31T12:00:00"}, "filter_bad_value", ("lt",)),
        ({"field": "published_at", "lt": "2026-01-31"}, "filter_bad_value", ("lt",)),
        ({"field": "published_at", "lt": "20260131T12Z"}, "filter_bad_value", ("lt",)),
        ({"field": "published_at", "lt": "2026-W05-1T12:00Z"}, "filter_bad_value", ("lt",)),
        ({"field": "published_at", "lt": "0001-01-01T00:00:00+05:00"}, "filter_bad_value", ("lt",)),
        ({"field": "attributes.kids", "lt": True}, "filter_bad_value", ("lt",)),
        ({"field": "attributes.kids", "eq": [1]}, "filter_bad_value", ("eq",)),
        ({"field": "price", "lt": {"context_item": "brand"}}, "filter_bad_value", ("lt", "context_item")),
        ({"field": "price", "lt": {"context_item": "prize"}}, "filter_bad_value", ("lt",)),
        ({"field": "price", "lt": {"context_item": "price", "plus": 1}}, "filter_bad_value", ("lt",)),
        ({"and": []}, "filter_bad_clause", ("and",)),
        ({"and": {"field": "price", "lt": 5}}, "filter_bad_clause", ("and",)),
        ({"and": [{"field": "price", "lt": 5}], "or": []}, "filter_bad_clause", ()),
        ({"or": [{"field": "price", "lt": 5}, {"not": {"field": "price", "lt": []}}]},
         "filter_bad_value", ("or", 1, "not", "lt")),
        ({"field": "item_id", "in": ["a"] * 1001}, "filter_too_large", ("in",)),
    ],
)  # fmt: skip
def test_refuses_with_the_place(spec, code, loc):
    with pytest.raises(Invalid) as error:
        parse_filter(spec)
    assert (error.value.code, error.value.loc) == (code, ("filter", *loc))


def test_depth_and_number_of_clauses_are_bounded():
    spec: object = {"field": "price", "lt": 5}
    for _ in range(MAX_DEPTH - 1):
        spec = {"not": spec}
    parse_filter(spec)
    with pytest.raises(Invalid) as error:
        parse_filter({"not": spec})
    assert error.value.code == "filter_too_deep"
    clauses = [{"field": "price", "lt": 5}] * MAX_CLAUSES
    parse_filter({"or": clauses})
    with pytest.raises(Invalid) as error:
        parse_filter({"or": [*clauses, {"field": "price", "lt": 5}]})
    assert (error.value.code, error.value.loc) == ("filter_too_large", ("filter", "or", MAX_CLAUSES))


def test_visible_means_available_published_and_not_expired():
    second = timedelta(seconds=1)
    items = [
        Item("plain"), Item("sold out", available=False), Item("soon", published_at=NOW + second),
        Item("just out", published_at=NOW), Item("last second", expires_at=NOW + second), Item("over", expires_at=NOW),
    ]  # fmt: skip
    assert Columns.from_items(items).visible(NOW).tolist() == [True, False, False, True, True, False]


def test_items_come_back_from_their_columns_as_they_went_in():
    assert Columns.from_items(ITEMS).items_at([3, 0, 1]) == [ITEMS[3], ITEMS[0], ITEMS[1]]


def test_no_items_give_an_empty_mask():
    empty = Columns.from_items([])
    assert parse_filter({"field": "attributes.x", "ne": 1}).mask(empty, NOW).shape == (0,)
    assert parse_filter({"field": "price", "lt": {"context_item": "price"}}).mask(empty, NOW, Item("x")).shape == (0,)
