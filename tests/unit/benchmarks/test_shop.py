"""The synthetic shop is what its benchmarks say of it."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from app.benchmarks.shop import EVENTS_PER_USER, RARE, make_shop
from app.cli import numbers_in
from app.errors import BadData
from app.retrieval.columns import Columns
from app.retrieval.filters import parse_filter

UNTIL = datetime(2026, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize("num_items", [1_000, 5_003])
def test_every_user_has_the_same_number_of_events_on_items_that_exist(num_items: int) -> None:
    shop = make_shop(num_items, 30, until=UNTIL)
    assert len(shop.items) == shop.items["item_id"].n_unique() == num_items
    assert set(shop.events["user_id"].value_counts()["count"]) == {EVENTS_PER_USER}
    assert set(shop.events["item_id"]) <= set(shop.items["item_id"])
    assert shop.events["occurred_at"].is_sorted()
    assert shop.events["occurred_at"].max() < UNTIL  # type: ignore[operator]


def test_the_rare_filter_keeps_one_percent() -> None:
    shop = make_shop(5_000, 10, until=UNTIL)
    assert parse_filter(RARE).mask(Columns.from_frame(shop.items), UNTIL, None).sum() == 50


def test_shoppers_keep_to_a_few_topics() -> None:
    shop = make_shop(5_000, 50, until=UNTIL)
    category = shop.items.select("item_id", category=pl.col("category").list.join(">"))
    topics = shop.events.join(category, on="item_id").group_by("user_id").agg(pl.col("category").n_unique())
    assert topics["category"].max() <= 4  # type: ignore[operator]


def test_the_same_seed_makes_the_same_shop() -> None:
    one, same, other = (make_shop(1_000, 10, seed, UNTIL) for seed in (1, 1, 2))
    assert one.events.equals(same.events)
    assert not one.events.equals(other.events)


def test_sizes_are_read_rising() -> None:
    assert numbers_in("--sizes", "2000, 1000") == (1000, 2000)
    with pytest.raises(BadData, match=r"--sizes 1e5: expected whole numbers"):
        numbers_in("--sizes", "1e5")
