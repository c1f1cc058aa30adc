"""Table rows as items and users, and items as table rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import polars as pl

from app.catalogue.item import LIST_ITEM_FIELDS, Consent, Item, User
from app.catalogue.shop_data import ITEM_SCHEMA


def items_of(frame: pl.DataFrame) -> list[Item]:
    """frame: ITEM_SCHEMA."""
    return [Item(**_with_tuples(row, "category", "tags")) for row in frame.iter_rows(named=True)]


def frame_of(items: Sequence[Item]) -> pl.DataFrame:
    """ITEM_SCHEMA."""
    columns: dict[str, list[Any]] = {name: [getattr(item, name) for item in items] for name in ITEM_SCHEMA}
    for name in LIST_ITEM_FIELDS:
        columns[name] = list(map(list, columns[name]))
    columns["attributes"] = [
        orjson.dumps(dict(item.attributes)).decode() if item.attributes else None for item in items
    ]
    return pl.DataFrame(columns, schema=ITEM_SCHEMA)


def users_of(frame: pl.DataFrame) -> list[User]:
    """frame: USER_SCHEMA."""
    return [_user(row) for row in frame.iter_rows(named=True)]


def _user(row: dict[str, Any]) -> User:
    consent = Consent(row.pop("personalize") is not False, row.pop("train") is not False)
    return User(**_with_tuples(row, "tags"), consent=consent)


def _with_tuples(row: dict[str, Any], *names: str) -> dict[str, Any]:
    for name in names:
        row[name] = tuple(row[name] or ())
    row["attributes"] = orjson.loads(row["attributes"]) if row["attributes"] else {}
    if "available" in row:
        row["available"] = row["available"] is not False
    return row
