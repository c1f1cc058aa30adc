"""Rows on slates: beside the bare route, from larger shops, under a filter, for strangers and for users who just did something, from two
processes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from ulid import ULID

from app.benchmarks.bench import Bench
from app.benchmarks.cores import choose_cores, pinned_to
from app.benchmarks.proc import memory
from app.benchmarks.report import Bound, Row
from app.benchmarks.shop import item_id
from app.benchmarks.site import Site
from app.benchmarks.slates import (
    SLATE,
    Target,
    at_most_of,
    bare,
    compare,
    figures,
    filtered_calls,
    measure,
    slate_calls,
    stranger_calls,
    warm_up,
)
from app.errors import DuosceneError
from app.feedback.event import Event
from app.types import Json
from app.wiring.live_state import open_live_state
from app.wiring.stores import open_stores

FLOOR, P99_MS = 1 / 12, 12.0
PERSONAL = Bound("degraded_share", most=0.0)  # replies under load that were made without the shopper's state
LARGER = {100_000: 0.8, 1_000_000: 0.6}  # items -> least share of the rate
WRITTEN_AT_ONCE = 50  # events of the writer in `stale`
WRITER_LEAD = 1.2  # events for each request


def slates_row(bench: Bench) -> Iterator[Row]:
    site = bench.site()
    service = bench.service(site)
    ours = Target(site, service, slate_calls(site))
    with bench.bare(site, service) as route:
        bench.progress("slates under load", 0.0)
        found = compare(bare(site, route), ours, bench.plan, bench.cores)
    loaded = at_most_of(found[1].load.rate, ours, bench.plan, bench.cores)
    yield Row(
        "slates",
        f"slates of {SLATE} from {site.num_items:,} items, {len(site.users):,} warm users with 50 events, scenario home, ranker on; "
        f"{bench.plan.connections} connections",
        "bare FastAPI route that returns the same bytes",
        figures(*found) | loaded,
        (
            Bound("ratio", least=FLOOR, goal="1/6"), Bound("p99_ms_at_80_percent", most=P99_MS), PERSONAL,
            Bound("degraded_share_at_80_percent", most=0.0),
        ),
    )  # fmt: skip


def filter_row(bench: Bench) -> Iterator[Row]:
    site = bench.site()
    service, filtered = bench.service(site), filtered_calls(site)
    warm_up(site, service, filtered)
    bench.progress("slates under a filter", 0.0)
    reference, ours = Target(site, service, slate_calls(site)), Target(site, service, filtered)
    found = compare(reference, ours, bench.plan, bench.cores)
    what = f"the same with a filter that keeps 1 % of {site.num_items:,} items"
    yield Row("filter", what, "no filter", figures(*found), (Bound("ratio", least=0.8), PERSONAL))


def strangers_row(bench: Bench) -> Iterator[Row]:
    site = bench.site()
    service = bench.service(site)
    bench.progress("slates of strangers", 0.0)
    reference, ours = Target(site, service, slate_calls(site)), Target(site, service, stranger_calls())
    found = compare(reference, ours, bench.plan, bench.cores)
    what = "users and sessions that were never seen before, others in every request"
    yield Row("strangers", what, "users whose state Redis holds", figures(*found), (PERSONAL,))


def items_row(bench: Bench) -> Iterator[Row]:
    """A row for each size."""
    small = bench.site()
    for size in bench.config.sizes:
        what, reference = f"the same from {size:,} items", f"{small.num_items:,} items"
        bounds = (Bound("ratio", least=LARGER.get(size, 0.6)), PERSONAL)
        large = bench.site(size)
        try:
            many = bench.service(large)
        except DuosceneError as error:
            yield Row(f"items {size}", what, reference, {}, bounds, note=error.detail)
            continue
        bench.progress(f"slates from {size:,} items", 0.0)
        one, other = Target(small, bench.service(small), slate_calls(small)), Target(large, many, slate_calls(large))
        found = compare(one, other, bench.plan, bench.cores)
        started = {"start_s": round(many.seconds_to_first_answer, 1), "build_s": round(large.build_seconds, 1)}
        yield Row(f"items {size}", what, reference, figures(*found) | started, bounds)


def workers_row(bench: Bench) -> Iterator[Row]:
    site, plan = bench.site(), bench.plan
    what, reference = (
        "two API processes; memory that the second shares with nobody, against all of the first (RSS)",
        "one",
    )
    bounds = (Bound("ratio", least=1.9), Bound("memory_share", most=0.25), PERSONAL)
    cores = choose_cores(2)
    if len(cores.api) < 2:
        yield Row("workers", what, reference, {}, bounds, "one core only: not measured")
        return
    calls = slate_calls(site)
    alone = bench.service(site)
    with bench.fresh_service(site, cores, workers=2) as pair:
        warm_up(site, pair, calls)  # once more, because a process answers what it happens to get
        bench.progress("two processes", 0.0)
        found = compare(Target(site, alone, calls), Target(site, pair, calls), plan, cores)
        first, second = sorted((memory(pid).rss for pid in pair.pids), reverse=True)
        own = min(memory(pid).own for pid in pair.pids)
    found_memory: dict[str, Json] = {
        "first_mib": round(first, 1), "second_rss_mib": round(second, 1), "second_own_mib": round(own, 1),
        "memory_share": round(own / first, 4),
    }  # fmt: skip
    note = (
        "load and stores share a core with the second process: run it where there are three" if cores.are_shared else ""
    )
    yield Row("workers", what, reference, figures(*found) | found_memory, bounds, note)


def stale_row(bench: Bench) -> Iterator[Row]:
    site, plan = bench.site(), bench.plan
    target = Target(site, bench.service(site), slate_calls(site))
    bench.progress("users who just did something", 0.0)
    rate = WRITER_LEAD * measure(target, plan, bench.cores).load.rate
    written: list[int] = []

    @contextlib.contextmanager
    def writing() -> Iterator[None]:
        with Writer(site, rate, bench.cores.load) as writer:
            yield
        written.append(writer.num_written)

    found = compare(target, target, plan, bench.cores, writing)
    per_request = sum(written) / max(1, found[1].load.requests * len(written))
    yield Row(
        "stale", "users whose last event is newer than their vector", "vector as cached",
        figures(*found) | {"events_per_request": round(per_request, 3)},
        (Bound("ratio", least=0.6), Bound("events_per_request", least=1.0), PERSONAL),
        note="another process writes the events, in the order of the requests; it shares the core of the stores",
    )  # fmt: skip


class Writer:
    """Writes clicks of all users in turn, as an API process does, from a thread. num_written: so far."""

    def __init__(self, site: Site, rate: float, core: int) -> None:
        self._site, self._rate, self._core = site, rate, core
        self._stop = threading.Event()
        self._runs = threading.Event()
        self._thread = threading.Thread(target=self._run, name="writer of clicks")
        self.num_written = 0

    def __enter__(self) -> Writer:
        self._thread.start()
        self._runs.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with pinned_to(self._core):
            asyncio.run(self._write())

    async def _write(self) -> None:
        settings = self._site.settings
        users = itertools.cycle(self._site.users)
        rows = itertools.count()
        async with open_stores(settings) as stores, open_live_state(settings, stores) as live_state:
            self._runs.set()
            begin = time.monotonic()
            while not self._stop.is_set():
                events = [
                    Event(
                        str(ULID()), "click", item_id(next(rows) * 7919 % self._site.num_items), datetime.now(UTC),
                        user_id=next(users), scenario="home",
                    )
                    for _ in range(WRITTEN_AT_ONCE)
                ]  # fmt: skip
                await stores.events.append(events)
                await live_state.apply(events)
                self.num_written += len(events)
                ahead = self.num_written / self._rate - (time.monotonic() - begin)
                await asyncio.sleep(max(0.0, ahead))
