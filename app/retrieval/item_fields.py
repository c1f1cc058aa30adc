"""The properties of an item that a filter can name, and the kind of value each holds."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Literal

from app.catalogue.item import LIST_ITEM_FIELDS, PLAIN_ITEM_FIELDS, Item

Kind = Literal["string", "number", "bool", "time", "list", "attribute"]

AGE_DAYS = "age_days"
ATTRIBUTE_PREFIX = "attributes."
TIME_FIELDS = ("published_at", "expires_at", "created_at")
MICROSECONDS_PER_DAY = 86_400_000_000
_KINDS: dict[type, Kind] = {str: "string", float: "number", bool: "bool", datetime: "time"}
FIELD_KINDS: dict[str, Kind] = {
    **{name: _KINDS[type_] for name, type_ in PLAIN_ITEM_FIELDS.items()},
    **dict.fromkeys(LIST_ITEM_FIELDS, "list"),
    AGE_DAYS: "number",
}


def kind_of(field: str) -> Kind | None:
    """None: there is no such field. An attribute's kind differs from item to item."""
    if field.startswith(ATTRIBUTE_PREFIX) and len(field) > len(ATTRIBUTE_PREFIX):
        return "attribute"
    return FIELD_KINDS.get(field)


def microseconds(at: datetime) -> int:
    """Since 1970, exact (a float of seconds is not)."""
    delta = at - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def property_of(item: Item, field: str, now: datetime) -> object:
    """One value as it stands, None where it is missing (an empty list is a missing one)."""
    if field == AGE_DAYS:
        since = item.published_at or item.created_at
        return None if since is None else (microseconds(now) - microseconds(since)) / MICROSECONDS_PER_DAY
    if field.startswith(ATTRIBUTE_PREFIX):
        value = item.attributes.get(field.removeprefix(ATTRIBUTE_PREFIX))
    else:
        value = getattr(item, field)
    return None if value in ((), []) else value


def scalar_of(value: object) -> tuple[Kind, str | float | bool | int] | None:
    """The comparable form of a JSON scalar or a time; None for null, objects, lists and numbers that are not finite.

    Numbers compare as 64-bit floats, times as microseconds since 1970, and no kind ever equals another (true is not 1).
    """
    if isinstance(value, bool):
        return "bool", value
    if isinstance(value, str):
        return "string", value
    if isinstance(value, datetime):
        return "time", microseconds(value)
    if isinstance(value, int | float):
        try:
            number = float(value)
        except OverflowError:
            return None
        return ("number", number) if math.isfinite(number) else None
    return None


def element_key(value: object) -> str:
    """An element of an attribute's list as text that is equal only for equal elements of the same kind."""
    match scalar_of(value):
        case ("number", number):
            return f"n:{number + 0.0}"  # type: ignore[operator]
        case (kind, scalar):
            return f"{kind[0]}:{scalar}"
        case _:
            return f"o:{value!r}"
