"""`duoscene bench scaling`: how rate and latency of slates move with the size of the catalogue and with the callers at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import orjson
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from app.benchmarks.bench import Bench, ServeConfig, stops_in_order
from app.benchmarks.cores import choose_cores
from app.benchmarks.report import surroundings
from app.benchmarks.slates import Measured, Target, bare, measure, slate_calls
from app.benchmarks.wrk import find_wrk
from app.console import console, progress_bar
from app.encoding.encoder import Encoder
from app.errors import DuosceneError
from app.types import Json


@dataclass(frozen=True, slots=True)
class Point:
    """items 0: the bare route. concurrency: callers at once, each with a connection."""

    items: int
    concurrency: int
    rate_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    degraded_share: float


def run_scaling(config: ServeConfig, concurrencies: Sequence[int], out: Path | None, plot: Path | None) -> list[Point]:
    """config: its sizes are those measured. Written after every size. Raises BadSettings."""
    find_wrk()
    cores, points, notes = choose_cores(), list[Point](), list[str]()
    about = surroundings() | {"cores": {"api": list(cores.api), "load_and_stores": cores.load}}
    with stops_in_order(), progress_bar() as bar:
        for size in config.sizes:
            with ExitStack() as stack:  # one shop at a time, so that the largest has the machine's memory
                bench = Bench(config, cores, Encoder(), bar.report, stack)
                try:
                    points += points_of(bench, size, concurrencies, with_bare=size == config.sizes[0])
                except DuosceneError as error:
                    notes.append(f"{size:,} items were not measured: {error.detail}")
            held: list[Json] = [asdict(point) for point in points]
            if out is not None:
                report = about | {"notes": notes, "seconds": config.plan.seconds, "users": config.users, "points": held}
                out.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))
            if plot is not None and points:
                draw(points).savefig(plot, dpi=120)
    for note in notes:
        console.print(f"note: {note}", markup=False)
    console.print(table(points))
    return points


def points_of(bench: Bench, size: int, concurrencies: Sequence[int], *, with_bare: bool) -> Iterator[Point]:
    site = bench.site(size)
    service = bench.service(site)
    for concurrency in concurrencies:
        bench.progress(f"{size:,} items, {concurrency} at once", 0.0)
        plan = replace(bench.plan, connections=concurrency)
        if with_bare:
            with bench.bare(site, service) as route:
                yield point(0, concurrency, measure(bare(site, route), plan, bench.cores))
        yield point(size, concurrency, measure(Target(site, service, slate_calls(site)), plan, bench.cores))


def point(items: int, concurrency: int, measured: Measured) -> Point:
    load = measured.load
    return Point(
        items, concurrency, round(load.rate, 1), load.p50_ms, load.p99_ms, round(measured.cpu_ms, 3),
        round(load.lacking / load.requests, 5),
    )  # fmt: skip


def table(points: Sequence[Point]) -> Table:
    shown = Table("items", "at once", "slates/s", "p50 ms", "p99 ms", "CPU ms", "degraded")
    for of in points:
        name = f"{of.items:,}" if of.items else "bare route"
        figures = (f"{of.rate_per_s:,.0f}", f"{of.p50_ms:.1f}", f"{of.p99_ms:.1f}", f"{of.cpu_ms:.2f}")
        shown.add_row(name, str(of.concurrency), *figures, f"{of.degraded_share:.1%}")
    return shown


def draw(points: Sequence[Point]) -> Figure:
    """Rate and p99 against the callers at once, a line for each size of the catalogue; both axes logarithmic."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    rates, latencies = figure.subplots(1, 2)
    for items in sorted({of.items for of in points}):
        line = [of for of in points if of.items == items]
        at, look = [of.concurrency for of in line], {"marker": "o"} if items else {"linestyle": "--", "color": "grey"}
        name = f"{items:,} items" if items else "bare route"
        rates.plot(at, [of.rate_per_s for of in line], label=name, **look)
        latencies.plot(at, [of.p99_ms for of in line], label=name, **look)
    _label(rates, "slates per second", sorted({of.concurrency for of in points}))
    _label(latencies, "p99, ms", sorted({of.concurrency for of in points}))
    figure.legend(*rates.get_legend_handles_labels(), loc="outside lower center", ncols=6)
    return figure


def _label(axes: Axes, what: str, concurrencies: Sequence[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(list(concurrencies), [str(of) for of in concurrencies])
    axes.set_xlabel("callers at once")
    axes.set_ylabel(what)
    axes.grid(alpha=0.3)
