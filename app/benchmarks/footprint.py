"""Row on memory: what 100,000 items and 100,000 users more take, beside the raw size of what is known of them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import polars as pl
import redis

from app.benchmarks.bench import Bench
from app.benchmarks.lifecycle import size
from app.benchmarks.proc import memory
from app.benchmarks.report import Bound, Row
from app.benchmarks.shop import EVENTS_PER_USER
from app.benchmarks.site import Service, Site, serve
from app.benchmarks.slates import ask, slate_calls, warm_up
from app.errors import DuosceneError
from app.types import Json
from app.wiring.urls import redis_url_of

PER = 100_000
STATES = "duoscene:[us]?:*"  # of users and sessions, and what else goes by their ids
SETTLE_SECONDS = 1.0  # until impressions have arrived; until Redis has made its table of keys smaller


def memory_row(bench: Bench) -> Iterator[Row]:
    bench.progress("memory", 0.0)
    small = bench.site()
    found: dict[str, Json] = {}
    notes = [
        "users: what Redis frees when their states are dropped, and growth of the API process while they come for the first time"
    ]
    with serve(small, bench.cores) as service:
        warm_up(small, service, slate_calls(small)[:1])
        found |= of_users(small, service)
        small_mib = process_mib(service)
    large = bench.site(bench.larger)
    try:
        with serve(large, bench.cores) as service:
            warm_up(large, service, slate_calls(large))
            found |= of_items(small, large, process_mib(service) - small_mib)
    except DuosceneError as error:
        notes.append(error.detail)
    yield Row(
        "memory", f"memory for {PER:,} items and for {PER:,} users more", "raw size of the model's arrays; of the histories",
        found, (Bound("items_ratio", most=2.0), Bound("users_ratio", most=2.0)), note="; ".join(notes),
    )  # fmt: skip


def of_items(small: Site, large: Site, grown_mib: float) -> dict[str, Json]:
    """grown_mib: of the API process, from the one catalogue to the other."""
    per = PER / (large.num_items - small.num_items)
    raw_mib = (size(large.model) - size(small.model)) / 2**20
    return {
        "items_mib": round(per * grown_mib, 1), "items_raw_mib": round(per * raw_mib, 1),
        "items_ratio": round(grown_mib / raw_mib, 3),
    }  # fmt: skip


def of_users(site: Site, service: Service) -> dict[str, Json]:
    """Redis: what it frees when it forgets them. The process: what it grows by beyond as many slates of one user."""
    with redis.Redis.from_url(redis_url_of(site.settings)) as client:
        client.flushdb()  # derived state: it is read again from PostgreSQL
        for _ in ask(site, service, slate_calls(site)[:1] * len(site.users)):
            pass
        before = process_mib(service)
        warm_up(site, service, slate_calls(site))
        grown_mib = max(0.0, process_mib(service) - before)
        time.sleep(SETTLE_SECONDS)
        held = used_mib(client)
        for key in client.scan_iter(STATES, count=1_000):
            client.delete(key)
        time.sleep(SETTLE_SECONDS)
        redis_mib = held - used_mib(client)
    per = PER / len(site.users)
    raw_mib = history_bytes(site) * PER / 2**20
    total = per * (redis_mib + grown_mib)
    return {
        "users_mib": round(total, 1), "users_redis_mib": round(per * redis_mib, 1),
        "users_raw_mib": round(raw_mib, 1), "users_ratio": round(total / raw_mib, 3),
    }  # fmt: skip


def history_bytes(site: Site) -> float:
    """Of a user: id of the item, kind and time of each event, in bytes."""
    ids = pl.read_ipc(site.model / "items.arrow", columns=["item_id"])["item_id"].str.len_bytes().mean()
    assert isinstance(ids, float)
    return EVENTS_PER_USER * (ids + 1 + 8)


def process_mib(service: Service) -> float:
    return sum(memory(pid).pss for pid in service.pids)


def used_mib(client: redis.Redis) -> float:
    return float(client.info("memory")["used_memory"]) / 2**20
