"""Small interaction logs for the tests of learning."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

from app.catalogue.shop_data import EVENT_SCHEMA, ITEM_SCHEMA, USER_SCHEMA, ShopData
from app.learning.dataset import Interactions, interactions

START = datetime(2026, 1, 1, tzinfo=UTC)
Row = tuple[str, str, float]  # user, item, hours after START


def shop(
    rows: list[Row], *, type: str = "click", scenarios: list[str] | None = None, titles: dict[str, str] | None = None
) -> ShopData:
    item_ids = sorted({item for _, item, _ in rows} | set(titles or {}))
    user_ids = sorted({user for user, _, _ in rows})
    items = pl.DataFrame(
        [
            {"item_id": item, "title": (titles or {}).get(item, item), "category": [], "tags": [], "created_at": START}
            for item in item_ids
        ],
        schema=ITEM_SCHEMA,
    )
    users = pl.DataFrame([{"user_id": user, "tags": []} for user in user_ids], schema=USER_SCHEMA)
    events = pl.DataFrame(
        [
            {
                "event_id": str(number), "type": type, "user_id": user, "item_id": item,
                "occurred_at": START + timedelta(hours=at), "scenario": scenarios[number] if scenarios else None,
            }
            for number, (user, item, at) in enumerate(rows)
        ],
        schema=EVENT_SCHEMA,
    )  # fmt: skip
    return ShopData(items, users, events)


def log(rows: list[Row], **options: object) -> Interactions:
    return interactions(shop(rows, **options))  # type: ignore[arg-type]
