"""Shoppers of the sample shop as the service knows them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import polars as pl

from app.catalogue.shop_data import ShopData
from app.feedback.state import HistoryEntry

NUM_EVENTS = 40  # of a history
Past = tuple[str, datetime, tuple[HistoryEntry, ...]]


def pasts(shop: ShopData) -> Iterator[Past]:
    """User id, an hour after the last event of the shop, and the newest events, oldest first; of everybody, by id."""
    until = shop.events["occurred_at"].max()
    assert isinstance(until, datetime)
    of_users = shop.events.group_by(["user_id"])
    for (user_id,), rows in sorted(of_users, key=lambda part: str(part[0])):
        past = rows.sort("occurred_at").tail(NUM_EVENTS).filter(pl.col("type") != "impression")
        entries = past.select("item_id", "type", "occurred_at", "event_id").iter_rows()
        yield (
            str(user_id),
            until + timedelta(hours=1),
            tuple(HistoryEntry(item_id, kind, at.timestamp(), event_id) for item_id, kind, at, event_id in entries),
        )
