"""Builds shop data from the few fields a test is about."""

from __future__ import annotations

from typing import Any

import polars as pl

from app.catalogue.shop_data import EVENT_SCHEMA, ITEM_SCHEMA, USER_SCHEMA, ShopData

ITEM: dict[str, Any] = {"category": [], "tags": [], "available": True}
USER: dict[str, Any] = {"tags": []}
EVENT: dict[str, Any] = {"type": "click", "item_id": "i1", "user_id": "u1"}


def shop(
    items: list[dict[str, Any]] | None = None,
    users: list[dict[str, Any]] | None = None,
    events: list[dict[str, Any]] | None = None,
) -> ShopData:
    return ShopData(
        _frame(items or [], ITEM, ITEM_SCHEMA),
        _frame(users or [], USER, USER_SCHEMA),
        _frame(events or [], EVENT, EVENT_SCHEMA),
    )


def _frame(rows: list[dict[str, Any]], default: dict[str, Any], schema: pl.Schema) -> pl.DataFrame:
    complete = [dict.fromkeys(schema) | default | row for row in rows]
    return pl.DataFrame(complete, schema=schema, orient="row")
