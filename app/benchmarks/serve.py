"""`duoscene bench serve`: every figure beside a reference that was measured in the same run.

Cost model of a slate. Per request: one read of the state (one Redis round trip; constant), HTTP, checks and the reply (grow with n).
Items N: masks of rules and filters and the score columns of sources that score everybody grow with N; exact search grows with N up to
50,000, HNSW above with log N; item-item sources with the neighbours kept of the items in the history, not with N. Users: none for a
request; memory in Redis only. History L (at most 100 events): the tower with L², item-item sources with L x neighbours. Scenarios: a
row of a table each; none for a request. Model: resident arrays grow with N (see the row `memory`); users are no part of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from app.benchmarks import slates
from app.benchmarks.cores import Cores, choose_cores
from app.benchmarks.report import Bound, Report, Row
from app.benchmarks.site import Service, Site, open_site, serve, serve_bare
from app.benchmarks.slates import Plan
from app.benchmarks.wrk import find_wrk
from app.console import console, progress_bar
from app.encoding.encoder import Encoder
from app.errors import BadData
from app.types import Json, Progress

FLOOR, P99_MS = 1 / 12, 12.0
PERSONAL = Bound("degraded_share", most=0.0)  # replies under load that were made without the shopper's state


@dataclass(frozen=True)
class ServeConfig:
    """items, users: of the shop that everything is compared with. rows: names in ROWS. folder: for the data; None: the temporary one."""

    items: int = 10_000
    users: int = 1_000
    rows: tuple[str, ...] = ()
    plan: Plan = field(default_factory=Plan)
    folder: Path | None = None


@dataclass
class Bench:
    """What rows share. A site is opened at its first use and stays until the end."""

    config: ServeConfig
    cores: Cores
    encoder: Encoder
    progress: Progress
    stack: ExitStack

    def __post_init__(self) -> None:
        self._sites: dict[int, Site] = {}

    @property
    def plan(self) -> Plan:
        return self.config.plan

    def site(self, num_items: int | None = None) -> Site:
        num_items = num_items or self.config.items
        if num_items not in self._sites:
            opened = open_site(
                num_items, self.config.users, self.cores, self.encoder, self.progress, self.config.folder
            )
            self._sites[num_items] = self.stack.enter_context(opened)
        return self._sites[num_items]

    @contextlib.contextmanager
    def service(self, site: Site) -> Iterator[tuple[Service, Service]]:
        """The service, warm, and the bare route with the bytes of one of its slates."""
        self.progress("start the service", 0.0)
        with serve(site, self.cores) as service:
            self.progress("warm up", 0.0)
            body = slates.warm_up(site, service, slates.slate_calls(site))
            with serve_bare(body, self.cores, site.settings.data_dir) as bare:
                yield service, bare


def slates_row(bench: Bench) -> Iterator[Row]:
    site = bench.site()
    with bench.service(site) as (service, bare):
        bench.progress("slates under load", 0.0)
        figures = slates.against(site, bare, service, slates.slate_calls(site), bench.plan, bench.cores)
    yield Row(
        "slates",
        f"slates of {slates.SLATE} from {site.num_items:,} items, {len(site.users):,} warm users with 50 events, scenario home, "
        f"ranker on; {bench.plan.connections} connections",
        "bare FastAPI route that returns the same bytes",
        figures,
        (Bound("ratio", least=FLOOR, goal="1/6"), Bound("p99_ms_at_80_percent", most=P99_MS), PERSONAL),
    )


ROWS: Mapping[str, Callable[[Bench], Iterator[Row]]] = {"slates": slates_row}


def run_serve(config: ServeConfig, out: Path | None) -> dict[str, Json]:
    """The report that was also shown and, with `out`, written. Raises BadSettings, BadData, DuosceneError."""
    unknown = sorted(set(config.rows) - set(ROWS))
    if unknown:
        raise BadData(f"there is no row {unknown[0]!r}; choose from {', '.join(ROWS)}")
    find_wrk()
    report = Report(out)
    cores = choose_cores()
    if cores.are_shared:
        report.notes.append("one core only: load, stores and the API share it, so rates are lower than a core gives")
    report.surroundings["cores"] = {"api": list(cores.api), "load_and_stores": cores.load}
    with ExitStack() as stack, progress_bar() as bar:
        bench = Bench(config, cores, Encoder(), bar.report, stack)
        for name in config.rows or ROWS:
            for row in ROWS[name](bench):
                report.add(row)
    report.write()
    for note in report.notes:
        console.print(f"[yellow]note:[/] {note}")
    console.print(report.table())
    return report.as_json()
