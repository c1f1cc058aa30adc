"""Whatever the filter and the items: the mask over columns says what one look at each item in plain Python says."""

from datetime import UTC, datetime, timedelta
from operator import ge, gt, le, lt

from hypothesis import given, settings
from hypothesis import strategies as st

from app.catalogue.item import Item
from app.retrieval.columns import Columns
from app.retrieval.filters import parse_filter

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
ORDER = {"lt": lt, "lte": le, "gt": gt, "gte": ge}
words = st.sampled_from(["", "a", "b", "B", "ab", "é", "ß", "中", "\x00", "'\"", "z" * 20])
numbers = st.sampled_from([-1, 0, -0.0, 0.1, 1, 1.0, 2, 1e300, 5e-324, 2**53 + 1]) | st.floats(
    allow_nan=False, allow_infinity=False, width=32
)
times = st.integers(-5, 5).map(lambda days: NOW + timedelta(days=days, microseconds=days))
scalars = words | numbers | st.booleans()
attribute_values = (
    scalars | st.none() | st.lists(scalars | st.none(), max_size=3) | st.dictionaries(words, numbers, max_size=1)
)
items = st.builds(
    Item,
    item_id=words,
    brand=st.none() | words,
    price=st.none() | numbers.map(float),
    category=st.lists(words, max_size=3).map(tuple),
    tags=st.lists(words, max_size=3).map(tuple),
    available=st.booleans(),
    published_at=st.none() | times,
    created_at=st.none() | times,
    attributes=st.dictionaries(st.sampled_from(["x", "y"]), attribute_values),
)
FIELDS = {
    "item_id": words, "brand": words, "price": numbers, "age_days": numbers, "available": st.booleans(),
    "published_at": times.map(datetime.isoformat), "attributes.x": scalars, "attributes.none": scalars,
}  # fmt: skip


@st.composite
def clauses(draw: st.DrawFn) -> dict[str, object]:
    field = draw(st.sampled_from([*FIELDS, "tags", "category"]))
    if draw(st.integers(0, 9)) == 0:
        return {"field": field, "exists": draw(st.booleans())}
    if field in ("tags", "category"):
        operator = draw(st.sampled_from(["contains", "eq", "ne"]))
        same = st.just({"context_item": field})
        value = words if operator == "contains" else st.lists(words, min_size=1, max_size=2) | same
        return {"field": field, operator: draw(value)}
    values = FIELDS[field]
    operator = draw(st.sampled_from(["eq", "ne", "in", "not_in", *([] if field == "available" else ORDER)]))
    if field == "attributes.x" and draw(st.booleans()):
        operator = draw(st.sampled_from(["contains", "eq", "ne"]))
        values |= st.sampled_from([{"context_item": name} for name in ("attributes.x", "brand", "price", "tags")])
    elif operator in ("in", "not_in"):
        values = st.lists(values, max_size=3)
    elif operator in ORDER and field.startswith("attributes"):
        values = words | numbers
    elif draw(st.booleans()):
        values = st.just({"context_item": field})
    return {"field": field, operator: draw(values)}


specs = st.recursive(
    clauses(),
    lambda inner: st.one_of(
        inner.map(lambda part: {"not": part}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"and": parts}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"or": parts}),
    ),
    max_leaves=6,
)


def look_up(item: Item, field: str) -> object:
    if field == "age_days":
        since = item.published_at or item.created_at
        return None if since is None else (NOW - since) / timedelta(days=1)
    value = item.attributes.get(field[11:]) if field.startswith("attributes.") else getattr(item, field)
    return None if value in ((), []) else value


def same(a: object, b: object) -> bool:
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, int | float) and isinstance(b, int | float):
        return float(a) == float(b)
    return type(a) is type(b) and a == b and not isinstance(a, dict)


def matches(item: Item, spec: dict, context_item: Item) -> bool:
    for word, joined in (("and", all), ("or", any)):
        if word in spec:
            return joined(matches(item, part, context_item) for part in spec[word])
    if "not" in spec:
        return not matches(item, spec["not"], context_item)
    field, (operator, wanted) = spec["field"], next((k, v) for k, v in spec.items() if k != "field")
    have = look_up(item, field)
    if operator == "exists":
        return (have is not None) is wanted
    if isinstance(wanted, dict):
        wanted = look_up(context_item, wanted["context_item"])
    elif field == "published_at":
        wanted = (
            [datetime.fromisoformat(v) for v in wanted] if isinstance(wanted, list) else datetime.fromisoformat(wanted)
        )
    if operator in ("ne", "not_in"):
        return not matches_positive(have, "eq" if operator == "ne" else "in", wanted)
    return matches_positive(have, operator, wanted)


def matches_positive(have: object, operator: str, wanted: object) -> bool:
    if have is None or wanted is None:
        return False
    if operator == "eq":
        return same(have, wanted)
    if operator == "in":
        return any(same(have, value) for value in wanted)
    if operator == "contains":
        return isinstance(have, list | tuple) and any(same(element, wanted) for element in have)
    if isinstance(have, bool) or isinstance(wanted, bool):
        return False
    if isinstance(have, int | float) and isinstance(wanted, int | float):
        return ORDER[operator](float(have), float(wanted))
    return type(have) is type(wanted) and isinstance(have, str | datetime) and ORDER[operator](have, wanted)


@settings(max_examples=300, deadline=None)
@given(st.lists(items, max_size=6), specs, items)
def test_a_mask_is_one_look_at_each_item(catalogue, spec, context_item):
    mask_N = parse_filter(spec).mask(Columns.from_items(catalogue), NOW, context_item)
    assert mask_N.tolist() == [matches(item, spec, context_item) for item in catalogue]
