"""The sample shop in one call: words → products and shoppers → true tastes → 90 days of visits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from app.catalogue.sample_shop.oracle import Oracle, make_oracle
from app.catalogue.sample_shop.products import make_products
from app.catalogue.sample_shop.shoppers import make_shoppers
from app.catalogue.sample_shop.visits import Shop
from app.catalogue.sample_shop.words import load_words
from app.catalogue.shop_data import ShopData
from app.types import Progress, no_progress

NUM_DAYS = 90
DEFAULT_UNTIL = datetime(2026, 1, 31, tzinfo=UTC)


@dataclass(frozen=True)
class SampleShop:
    data: ShopData
    oracle: Oracle


def generate_sample_shop(
    seed: int,
    *,
    num_items: int = 1_200,
    num_users: int = 3_000,
    until: datetime | None = None,
    progress: Progress = no_progress,
) -> SampleShop:
    """The same shop for the same arguments. until: end of the 90 days, timezone-aware; default a fixed day."""
    until = until or DEFAULT_UNTIL
    start = until - timedelta(days=NUM_DAYS)
    rng = np.random.default_rng(seed)
    words = load_words()
    products = make_products(words, num_items, start, NUM_DAYS, rng)
    progress("sample shop", 0.2, f"{num_items:,} products in {len(words.departments)} departments")
    shoppers = make_shoppers(words, num_users, start, NUM_DAYS, rng)
    oracle = make_oracle(words, products, shoppers, NUM_DAYS)
    progress("sample shop", 0.4, f"{num_users:,} shoppers")
    events = Shop(words, products, shoppers, oracle, rng).run(start, NUM_DAYS)
    progress("sample shop", 1.0, f"{len(events):,} events in {NUM_DAYS} days")
    return SampleShop(ShopData(products.frame, shoppers.frame, events), oracle)
