"""What a filter costs over 100,000 items, each with a brand, a price, tags and two attributes.

Cost model: one pass over the clause's column per clause, then boolean arrays are joined; building the columns is paid
once per catalogue change. Run: python -m pytest -s tests/bench/bench_filters.py
"""

import random
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from app.catalogue.item import Item
from app.catalogue.records import frame_of
from app.retrieval.columns import Columns
from app.retrieval.filters import parse_filter

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
NUM_ITEMS = 100_000
SPECS = {
    "price lt": {"field": "price", "lt": 50},
    "brand ne viewed": {"field": "brand", "ne": {"context_item": "brand"}},
    "tags contains": {"field": "tags", "contains": "t7"},
    "category eq": {"field": "category", "eq": ["A", "c3"]},
    "attribute eq": {"field": "attributes.colour", "eq": "r"},
    "age_days lt": {"field": "age_days", "lt": 30},
    "500 ids in": {"field": "item_id", "in": [f"i{n}" for n in range(500)]},
    "and of three": {
        "and": [{"field": "price", "lt": 50}, {"field": "brand", "ne": "b7"}, {"field": "tags", "contains": "x"}]
    },
}


def make_item(n: int, draw: random.Random) -> Item:
    return Item(
        f"i{n}", f"title {n}", brand=f"b{n % 500}", price=draw.random() * 100, category=("A", f"c{n % 30}"),
        tags=("x", f"t{n % 50}"), attributes={"colour": draw.choice("rgb"), "size": draw.random()},
        published_at=NOW - timedelta(days=draw.random() * 500),
    )  # fmt: skip


@pytest.mark.bench
def test_filters_over_100_000_items():
    draw = random.Random(1)
    items = [make_item(n, draw) for n in range(NUM_ITEMS)]
    frame = frame_of(items)
    begin = time.perf_counter()
    columns = Columns.from_frame(frame)
    print(f"\ncolumns of {NUM_ITEMS} items: {time.perf_counter() - begin:.2f} s")
    for name, spec in SPECS.items():
        parsed, took = parse_filter(spec), []
        for _ in range(50):
            begin = time.perf_counter()
            mask_N = parsed.mask(columns, NOW, items[0])
            took.append((time.perf_counter() - begin) * 1e3)
        p50, p95, p99 = np.percentile(took, [50, 95, 99])
        print(f"{name:16} p50 {p50:5.2f} ms  p95 {p95:5.2f} ms  p99 {p99:5.2f} ms  keeps {mask_N.sum()}")
        assert 0 < mask_N.sum() < NUM_ITEMS
