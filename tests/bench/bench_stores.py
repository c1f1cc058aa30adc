"""What a durable event costs, and how fast a shop goes in and out.

Run: python -m pytest tests/bench/bench_stores.py -s   (not collected otherwise)

Cost model: an event costs a share of one commit (an fsync and a round trip) and of one Redis round trip; the share shrinks
with the number of callers that wait at once. A load costs COPY into a temporary table and one INSERT with four indexes for
each chunk; a read costs COPY to a file, and memory for the frame itself.
"""

from __future__ import annotations

import asyncio
import os
import resource
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from ulid import ULID

from app.catalogue.shop_data import EVENT_SCHEMA, ITEM_SCHEMA, USER_SCHEMA, ShopData
from app.feedback.event import Event
from app.feedback.intake import FeedbackIntake
from app.stores.postgres.events import PostgresEvents
from app.stores.postgres.revisions import PostgresRevisions
from app.stores.postgres.shop_data import PostgresShopData
from app.stores.postgres.subjects import PostgresSubjects
from app.stores.redis.live_state import RedisLiveState
from app.types import no_progress

pytestmark = pytest.mark.bench
CLIENTS, SECONDS, EVENTS = 64, 5.0, 1_000_000


def click(n: int) -> Event:
    return Event(str(ULID()), "click", f"i{n % 1000}", datetime.now(UTC), user_id=f"u{n % 5000}", scenario="home")


async def run_clients(name: str, send: Callable[[Event], Awaitable[object]]) -> None:
    """CLIENTS closed loops of single events."""
    taken: list[float] = []
    end = time.perf_counter() + SECONDS

    async def client(number: int) -> None:
        n = number
        while time.perf_counter() < end:
            start = time.perf_counter()
            await send(click(n))
            taken.append(time.perf_counter() - start)
            n += CLIENTS

    start = time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    rate = len(taken) / (time.perf_counter() - start)
    p50, p95, p99 = np.percentile(taken, [50, 95, 99]) * 1000
    print(
        f"\n{name}: {rate:,.0f} events/s; p50 {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms ({os.cpu_count()} cores)"
    )


async def test_single_events(engine: AsyncEngine, redis_url: str) -> None:
    events = PostgresEvents(engine)
    live = RedisLiveState(
        redis_url, events=events, subjects=PostgresSubjects(engine), revisions=PostgresRevisions(engine)
    )
    await live.start()
    await run_clients("one commit per event, no live state", lambda event: events.append([event]))
    intake = FeedbackIntake(events, live)
    await intake.start()
    await run_clients("intake: group commit and live state", lambda event: intake.submit([event]))
    for n in range(1000):
        await live.read(f"u{n}", f"s{n}")
    taken = []
    for n in range(1000):
        start = time.perf_counter()
        await live.read(f"u{n}", f"s{n}")
        taken.append(time.perf_counter() - start)
    p50, p95, p99 = np.percentile(taken, [50, 95, 99]) * 1000
    print(f"warm read of a user and a session: p50 {p50:.2f} ms, p95 {p95:.2f} ms, p99 {p99:.2f} ms")
    assert intake.groups_written > 0
    await intake.close()
    await live.close()


async def test_a_million_events(engine: AsyncEngine) -> None:
    n = pl.int_range(EVENTS, eager=True)
    columns = {
        "event_id": pl.format("event-{}", n), "type": pl.lit("click"), "item_id": pl.format("item-{}", n * 7919 % 20_000),
        "user_id": pl.format("user-{}", n * 104_729 % 100_000), "scenario": pl.lit("home"),
        "occurred_at": pl.lit(datetime(2026, 1, 1, tzinfo=UTC)) + pl.duration(seconds=n),
    }  # fmt: skip
    events = pl.select(**columns).with_columns(pl.lit(None).alias(name) for name in EVENT_SCHEMA if name not in columns)
    shop = ShopData(
        pl.DataFrame(schema=ITEM_SCHEMA), pl.DataFrame(schema=USER_SCHEMA),
        events.select(pl.col(name).cast(kind) for name, kind in EVENT_SCHEMA.items()),
    )  # fmt: skip
    store = PostgresShopData(engine)
    start = time.perf_counter()
    counts = await store.load(shop, no_progress)
    loaded = time.perf_counter()
    del shop, events
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    again = await store.read()
    done = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"\nload: {EVENTS / (loaded - start):,.0f} events/s; read: {EVENTS / (done - loaded):,.0f} events/s")
    print(f"peak memory before the read {before / 2**20:.2f} GiB, after {peak / 2**20:.2f} GiB")
    assert counts["events"] == len(again.events) == EVENTS
