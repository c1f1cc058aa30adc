"""Rows on feedback: what a durable event costs beside the plainest way to put it into the same PostgreSQL."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import asyncpg
import orjson
from ulid import ULID

from app.benchmarks.bench import Bench
from app.benchmarks.cores import pinned_to
from app.benchmarks.report import Bound, Row
from app.benchmarks.shop import item_id
from app.benchmarks.site import Site
from app.benchmarks.slates import Target, measure
from app.benchmarks.wrk import Call, Expected
from app.types import Json
from app.wiring.urls import database_url_of

BULK = 1_000
BULK_CALLS = 20  # different bodies
CONNECTIONS = 64  # as many events at a time: those that come while a commit is written share the next one
BULK_CONNECTIONS = 8
COLUMNS = ("event_id", "type", "item_id", "user_id", "scenario", "occurred_at")
INSERT = f"INSERT INTO events ({', '.join(COLUMNS)}) VALUES ($1, $2, $3, $4, $5, $6)"  # noqa: S608  names of our own
Record = tuple[str, str, str, str, str, datetime]


def single_row(bench: Bench) -> Iterator[Row]:
    site, seconds = bench.site(), bench.plan.seconds
    calls = [Call("POST", "/v1/feedback", orjson.dumps(click(site, n)).decode()) for n in range(len(site.users))]
    target = Target(site, bench.service(site), calls, Expected(202, ('"accepted":1,',)))
    many = replace(bench.plan, connections=CONNECTIONS)
    bench.progress("single events", 0.0)
    ours, inserted = [], []
    for _ in range(bench.plan.rounds):
        with pinned_to(bench.cores.load):
            inserted.append(asyncio.run(insert_one_by_one(site, seconds)))
        ours.append(measure(target, many, bench.cores))
    yield Row(
        "feedback", f"single events, durable at 202; {CONNECTIONS} connections",
        "INSERT one by one, each with its commit, on the same PostgreSQL",
        best_of([one.load.rate for one in ours], inserted)
        | {"p99_ms": ours[-1].load.p99_ms, "cpu_ms": round(ours[-1].cpu_ms, 3)},
        (Bound("ratio", least=4.0),),
    )  # fmt: skip


def bulk_row(bench: Bench) -> Iterator[Row]:
    site, seconds = bench.site(), bench.plan.seconds
    bodies = [{"events": [click(site, call * BULK + n) for n in range(BULK)]} for call in range(BULK_CALLS)]
    calls = [Call("POST", "/v1/feedback", orjson.dumps(body).decode()) for body in bodies]
    target = Target(site, bench.service(site), calls, Expected(202, (f'"accepted":{BULK},',)))
    few = replace(bench.plan, connections=BULK_CONNECTIONS)
    bench.progress("bulk feedback", 0.0)
    ours, copied = [], []
    for _ in range(bench.plan.rounds):
        with pinned_to(bench.cores.load):
            copied.append(asyncio.run(copy_rows(site, seconds)))
        ours.append(measure(target, few, bench.cores))
    yield Row(
        "bulk", f"feedback, {BULK:,} events a call; {BULK_CONNECTIONS} connections", "COPY of the same rows, a commit for each 1,000",
        best_of([one.load.rate * BULK for one in ours], copied)
        | {"p99_ms": ours[-1].load.p99_ms, "cpu_ms_per_event": round(ours[-1].cpu_ms / BULK, 4)},
        (Bound("ratio", least=1 / 3),),
    )  # fmt: skip


def best_of(ours: list[float], reference: list[float]) -> dict[str, Json]:
    """Events a second, of the round with the median ratio."""
    rounds = sorted(zip(ours, reference, strict=True), key=lambda pair: pair[0] / pair[1])
    rate, other = rounds[(len(rounds) - 1) // 2]
    return {
        "events_per_s": round(rate, 1), "reference_events_per_s": round(other, 1), "ratio": round(rate / other, 4),
    }  # fmt: skip


def click(site: Site, n: int) -> dict[str, Json]:
    """Without an id, so that the service makes one and no event is a repetition."""
    return {
        "type": "click", "item_id": item_id(n * 7919 % site.num_items), "user_id": site.users[n % len(site.users)],
        "scenario": "home",
    }  # fmt: skip


def record(site: Site, n: int) -> Record:
    return (
        str(ULID()), "click", item_id(n * 7919 % site.num_items), site.users[n % len(site.users)], "home",
        datetime.now(UTC),
    )  # fmt: skip


async def insert_one_by_one(site: Site, seconds: float) -> float:
    """Rows a second over one connection."""
    connection = await asyncpg.connect(database_url_of(site.settings))
    try:
        statement = await connection.prepare(INSERT)
        begin, n = time.perf_counter(), 0
        while time.perf_counter() - begin < seconds:
            await statement.fetch(*record(site, n))
            n += 1
        return n / (time.perf_counter() - begin)
    finally:
        await connection.close()


async def copy_rows(site: Site, seconds: float) -> float:
    """Rows a second over one connection; their making is not counted."""
    connection = await asyncpg.connect(database_url_of(site.settings))
    try:
        taken, n = 0.0, 0
        while taken < seconds:
            records = [record(site, n + place) for place in range(BULK)]
            begin = time.perf_counter()
            await connection.copy_records_to_table("events", records=records, columns=COLUMNS)
            taken += time.perf_counter() - begin
            n += BULK
        return n / taken
    finally:
        await connection.close()
