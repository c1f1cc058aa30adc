"""Rows on starting and on changing the model."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx

from app.benchmarks.bench import Bench
from app.benchmarks.report import Bound, Row
from app.benchmarks.site import Site, activate, publish, serve
from app.benchmarks.slates import FULL, PATH, Plan, Target, json_headers, measure, slate_calls
from app.benchmarks.wrk import run_wrk
from app.errors import DuosceneError
from app.learning.assembly import new_version, replace_manifest
from app.retrieval.snapshot import Snapshot

SWAPPED_AT = 0.5  # of the rate reached
SWAP_SECONDS = 60.0  # a new model has so long to come


def start_row(bench: Bench) -> Iterator[Row]:
    site = bench.site(bench.larger)
    what, reference = (
        f"start to the first slate, {site.num_items:,} items, model on disk",
        "reading the model's files once",
    )
    bounds = (Bound("start_s", most=5.0),)
    bench.progress(f"start with {site.num_items:,} items", 0.0)
    forget(site.model)
    reading = read_once(site.model)
    forget(site.model)
    try:
        with serve(site, bench.cores) as service:
            seconds = service.seconds_to_first_answer
    except DuosceneError as error:
        yield Row("start", what, reference, {"reading_s": round(reading, 3)}, bounds, note=error.detail)
        return
    found = {"start_s": round(seconds, 2), "reading_s": round(reading, 3), "model_mib": round(size(site.model) / 2**20)}
    yield Row("start", what, reference, found, bounds, note="the files are dropped from the page cache before either")


def swap_row(bench: Bench) -> Iterator[Row]:
    """The second version is the first one under another name."""
    site = bench.site()
    calls = slate_calls(site)
    service = bench.service(site)
    bench.progress("hot swap under load", 0.0)
    target = Target(site, service, calls)
    rate = SWAPPED_AT * measure(target, bench.plan, bench.cores).load.rate
    steady = measure(target, bench.plan, bench.cores, rate=rate).load
    snapshot = Snapshot.load(site.model)
    other = replace_manifest(snapshot, version=new_version(datetime.now(UTC)))
    asyncio.run(publish(site.settings, other, live=False))
    swap = Swap(site, service.url, other.version)
    during = run_wrk(
        service.url, calls, FULL, connections=bench.plan.connections, seconds=swap_plan(bench.plan).seconds,
        core=bench.cores.load, rate=rate, headers=json_headers(site), strict=False, meanwhile=swap.start,
    )  # fmt: skip
    swap.join()
    asyncio.run(activate(site.settings, site.version))
    yield Row(
        "swap", f"another model of {site.num_items:,} items goes live at half of the rate reached",
        "steady state at that rate",
        {
            "steady_p99_ms": steady.p99_ms, "worst_ms": during.max_ms, "p99_ms": during.p99_ms,
            "worst_to_steady_p99": round(during.max_ms / steady.p99_ms, 3),
            "failed": during.bad + during.unanswered, "swap_s": round(swap.seconds, 2) if swap.seconds else None,
            "degraded_share": round(during.lacking / max(1, during.requests), 5),
        },
        (Bound("worst_to_steady_p99", most=3.0), Bound("failed", most=0.0), Bound("degraded_share", most=0.0)),
        note="" if swap.seconds else "the new model did not come while the load lasted",
    )  # fmt: skip


def swap_plan(plan: Plan) -> Plan:
    """Long enough for a load of the model beside the requests."""
    return Plan(plan.seconds + 15, 1, plan.connections)


class Swap(threading.Thread):
    """Makes a version live a second after its start. seconds: until it was served; None: it was not within SWAP_SECONDS."""

    def __init__(self, site: Site, url: str, version: str) -> None:
        super().__init__(name="swap")
        self._site, self._url, self._version = site, url, version
        self.seconds: float | None = None

    def run(self) -> None:
        time.sleep(1)
        asyncio.run(activate(self._site.settings, self._version))
        begin = time.monotonic()
        with httpx.Client(base_url=self._url, headers=self._site.headers, trust_env=False, timeout=60) as client:
            while time.monotonic() - begin < SWAP_SECONDS:
                answer = client.get(PATH, params={"scenario": "home", "user_id": self._site.users[0]})
                if answer.status_code == 200 and answer.json()["model_version"] == self._version:
                    self.seconds = time.monotonic() - begin
                    return
                time.sleep(0.1)


def files_of(model: Path) -> list[Path]:
    return [path for path in sorted(model.rglob("*")) if path.is_file()]


def size(model: Path) -> int:
    return sum(path.stat().st_size for path in files_of(model))


def forget(model: Path) -> None:
    """Drop the files from the page cache, as far as the kernel does so."""
    for path in files_of(model):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_once(model: Path) -> float:
    """Seconds."""
    buffer = bytearray(1 << 20)
    begin = time.perf_counter()
    for path in files_of(model):
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
    return time.perf_counter() - begin
