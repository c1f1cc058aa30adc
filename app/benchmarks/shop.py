"""A synthetic shop of any size: items in topics, shoppers who like a few of them, a log of what they did.

Everything comes from a seed. Shapes: N items, U users, E events, K topics.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from app.catalogue.shop_data import EVENT_SCHEMA, ITEM_SCHEMA, USER_SCHEMA, ShopData
from app.types import Int64Array

KINDS = (
    "fishing rod", "rain jacket", "desk lamp", "coffee grinder", "running shoes", "garden hose", "bread knife", "tent",
    "wool blanket", "bicycle bell", "chess set", "watering can", "backpack", "head torch", "frying pan", "yoga mat",
    "picture frame", "toy train", "bath towel", "sun hat", "wall clock", "tool box", "bird feeder", "tea pot", "sleeping bag",
)  # fmt: skip
STYLES = (
    "light", "sturdy", "classic", "folding", "waterproof", "handmade", "small", "large", "silent", "warm", "bright",
    "recycled", "professional", "simple", "quick", "soft", "modern", "rustic", "colourful", "travel",
)  # fmt: skip
NUM_TOPICS = len(KINDS) * len(STYLES)
ITEMS_PER_BRAND = 50
GRADES = 100  # `attributes.grade` has so many values, equally often: a filter on one keeps 1 %
RARE: dict[str, object] = {"field": "attributes.grade", "eq": "g7"}
EVENTS_PER_USER = 50
TOPICS_PER_USER = 4
TYPES, SHARES = ("view", "click", "cart_add", "purchase"), (0.45, 0.4, 0.08, 0.07)
SCENARIOS, SCENARIO_SHARES = ("home", "similar", "search", "cart"), (0.5, 0.25, 0.15, 0.1)
DAYS = 60.0
SKEW = 1.5  # how much more the first items of a topic are wanted than the last ones


def topic_texts() -> list[str]:
    """[K]; item n is of topic n % K."""
    return [f"{style} {kind}" for kind in KINDS for style in STYLES]


def make_shop(num_items: int, num_users: int, seed: int = 1, until: datetime | None = None) -> ShopData:
    """Every user has EVENTS_PER_USER events in the DAYS before `until` (default: now)."""
    until = (until or datetime.now(UTC)).replace(microsecond=0)
    draw = np.random.default_rng(seed)
    return ShopData(
        _items(num_items, draw, until), _users(num_users, until), _events(num_items, num_users, draw, until)
    )


def user_ids(num_users: int) -> list[str]:
    return [f"u{n}" for n in range(num_users)]


def item_id(row: int) -> str:
    return f"i{row:07d}"


def _items(num: int, draw: np.random.Generator, until: datetime) -> pl.DataFrame:
    row_N = np.arange(num)
    texts = topic_texts()
    topic_N = row_N % NUM_TOPICS
    frame = pl.DataFrame({
        "row": row_N,
        "kind": [KINDS[k] for k in topic_N // len(STYLES)],
        "style": [STYLES[k] for k in topic_N % len(STYLES)],
        "text": [texts[k] for k in topic_N],
        "brand": draw.integers(0, max(2, num // ITEMS_PER_BRAND), num),
        "price": np.round(draw.lognormal(3.3, 0.8, num), 2),
        "grade": draw.permutation(num) % GRADES,
        "age": draw.uniform(0, 700 * 86_400, num).astype(np.int64),
    })  # fmt: skip
    created = pl.lit(until) - pl.duration(seconds="age")
    given = {
        "item_id": pl.format("i{}", pl.col("row").cast(pl.String).str.zfill(7)),
        "title": pl.format("{} no {}", "text", "row"),
        "description": pl.format("A {} for every day, grade {}.", "text", "grade"),
        "category": pl.concat_list("kind", "style"),
        "brand": pl.format("brand {}", "brand"),
        "price": pl.col("price"),
        "currency": pl.lit("EUR"),
        "tags": pl.concat_list("style"),
        "attributes": pl.concat_str(pl.lit('{"grade":"g'), "grade", pl.lit('"}')),
        "available": pl.lit(True),
        "created_at": created,
    }  # fmt: skip
    return frame.select(given.get(name, pl.lit(None)).cast(kind).alias(name) for name, kind in ITEM_SCHEMA.items())


def _users(num: int, until: datetime) -> pl.DataFrame:
    given = {
        "user_id": pl.Series(user_ids(num), dtype=pl.String),
        "tags": pl.Series([[]] * num, dtype=pl.List(pl.String)),
        "personalize": pl.Series([True] * num),
        "train": pl.Series([True] * num),
        "created_at": pl.Series([until - timedelta(days=DAYS)] * num, dtype=USER_SCHEMA["created_at"]),
    }
    columns = {name: given.get(name, pl.Series([None] * num)).cast(kind) for name, kind in USER_SCHEMA.items()}
    return pl.DataFrame(columns, schema=USER_SCHEMA)


def _events(num_items: int, num_users: int, draw: np.random.Generator, until: datetime) -> pl.DataFrame:
    user_E = np.repeat(np.arange(num_users), EVENTS_PER_USER)
    E = len(user_E)
    liked_UK = draw.integers(0, min(NUM_TOPICS, num_items), (num_users, TOPICS_PER_USER))
    topic_E = liked_UK[user_E, draw.integers(0, TOPICS_PER_USER, E)]
    item_E = _item_of(topic_E, draw.random(E) ** SKEW, num_items)
    frame = pl.DataFrame({
        "user": user_E,
        "item": item_E,
        "age": draw.uniform(60, DAYS * 86_400, E).astype(np.int64),
        "type": draw.choice(TYPES, E, p=SHARES),
        "scenario": draw.choice(SCENARIOS, E, p=SCENARIO_SHARES),
    }).with_row_index("event")  # fmt: skip
    given = {
        "event_id": pl.format("bench-{}", "event"),
        "type": pl.col("type"),
        "item_id": pl.format("i{}", pl.col("item").cast(pl.String).str.zfill(7)),
        "user_id": pl.format("u{}", "user"),
        "scenario": pl.col("scenario"),
        "occurred_at": pl.lit(until) - pl.duration(seconds="age"),
    }
    events = frame.select(given.get(name, pl.lit(None)).cast(kind).alias(name) for name, kind in EVENT_SCHEMA.items())
    return events.sort("occurred_at", maintain_order=True)


def _item_of(topic_E: Int64Array, place_E: np.ndarray[tuple[int], np.dtype[np.float64]], num_items: int) -> Int64Array:
    """The item at a place (0-1) among those of a topic."""
    size_E = (num_items - 1 - topic_E) // NUM_TOPICS + 1
    row_E: Int64Array = topic_E + NUM_TOPICS * (place_E * size_E).astype(np.int64)
    return row_E
