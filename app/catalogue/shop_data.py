"""A whole shop as three tables: what importers make, stores load, the sample shop generates and learning reads.

The schemas below are the inner form. On disk ("duoscene layout") three names differ, because people write such files by
hand: `category` may be one string "Home > Kitchen", events call their type `event` and their time `timestamp`, and extra
columns stand beside the standard ones instead of inside `attributes` / `context` (JSON objects as text).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, cast

import polars as pl

Columns = Mapping[str, pl.DataType | type[pl.DataType]]
TIME = pl.Datetime("us", "UTC")

ITEM_SCHEMA: pl.Schema = pl.Schema(cast(Columns, {
    "item_id": pl.String, "title": pl.String, "description": pl.String, "category": pl.List(pl.String), "brand": pl.String,
    "price": pl.Float64, "currency": pl.String, "tags": pl.List(pl.String), "attributes": pl.String, "image_url": pl.String,
    "locale": pl.String, "available": pl.Boolean, "published_at": TIME, "expires_at": TIME, "created_at": TIME,
}))  # fmt: skip
USER_SCHEMA: pl.Schema = pl.Schema(cast(Columns, {
    "user_id": pl.String, "text": pl.String, "age": pl.Int32, "gender": pl.String, "occupation": pl.String,
    "country": pl.String, "locale": pl.String, "tags": pl.List(pl.String), "attributes": pl.String,
    "personalize": pl.Boolean, "train": pl.Boolean, "created_at": TIME,
}))  # fmt: skip
EVENT_SCHEMA: pl.Schema = pl.Schema(cast(Columns, {
    "event_id": pl.String, "type": pl.String, "item_id": pl.String, "user_id": pl.String, "session_id": pl.String,
    "scenario": pl.String, "recommendation_id": pl.String, "position": pl.Int32, "value": pl.Float64,
    "quantity": pl.Float64, "currency": pl.String, "order_id": pl.String, "occurred_at": TIME, "context": pl.String,
}))  # fmt: skip
LOG_COLUMNS = (
    "type",
    "item_id",
    "user_id",
    "session_id",
    "scenario",
    "value",
    "occurred_at",
    "recommendation_id",
    "position",
)  # what learning reads of an event
# One row for each item of each slate that the service has shown; `device` and `country` as the request said.
SLATE_SCHEMA: pl.Schema = pl.Schema(cast(Columns, {
    "recommendation_id": pl.String, "user_id": pl.String, "session_id": pl.String, "scenario": pl.String, "item_id": pl.String,
    "position": pl.Int32, "occurred_at": TIME, "device": pl.String, "country": pl.String,
}))  # fmt: skip
PIECE_ROWS = 100_000


class EventfulShop(Protocol):
    """Items, users, and events in time order that may come in pieces, so that they never stand in memory all at once."""

    @property
    def items(self) -> pl.DataFrame: ...

    @property
    def users(self) -> pl.DataFrame: ...

    def pieces(self) -> Iterator[pl.DataFrame]:
        """At least LOG_COLUMNS of EVENT_SCHEMA, PIECE_ROWS rows or so at a time; the queries in `context` or in a column `query`."""


@dataclass(frozen=True)
class ShopData:
    """items, users, events: frames of exactly ITEM_SCHEMA, USER_SCHEMA, EVENT_SCHEMA.

    Events stand in time order (file order inside equal times); `occurred_at` may be null only before import (see
    `cleaning`). `category` and `tags` are never null (empty list), `attributes` and `context` are JSON objects or null.
    `personalize` and `train` are null where nothing is said: a stored user's stay as they are then, a new one consents.
    """

    items: pl.DataFrame
    users: pl.DataFrame
    events: pl.DataFrame

    def __post_init__(self) -> None:
        for name, frame, schema in (
            ("items", self.items, ITEM_SCHEMA),
            ("users", self.users, USER_SCHEMA),
            ("events", self.events, EVENT_SCHEMA),
        ):
            if frame.schema != schema:
                wrong = {k: (frame.schema.get(k), v) for k, v in schema.items() if frame.schema.get(k) != v}
                raise ValueError(f"{name}: columns do not fit the schema: {wrong or set(frame.schema) - set(schema)}")

    def pieces(self) -> Iterator[pl.DataFrame]:
        return self.events.iter_slices(PIECE_ROWS)


@dataclass(frozen=True)
class StreamedShop:
    """The same, its events read from where they are kept when they are asked for. read: EventfulShop.pieces."""

    items: pl.DataFrame
    users: pl.DataFrame
    read: Callable[[], Iterator[pl.DataFrame]]

    def pieces(self) -> Iterator[pl.DataFrame]:
        return self.read()
