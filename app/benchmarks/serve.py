"""`duoscene bench serve`: every figure beside a reference that was measured in the same run.

Cost model of a slate. Per request: one read of the state (one Redis round trip; constant; taking it apart, which is spared who comes again within a minute), HTTP, checks and the reply (grow with n).
Requests that wait at the same time share their calls, up to 32: a slate of a full batch costs a third to a half of one alone.
For a user or session that Redis does not hold, once an hour: a share of a statement to PostgreSQL (grows with what they did and were shown) and one write to Redis.
Items N: masks of filters and the score columns of sources that score everybody grow with N, and so does the mask of who is visible, made anew
whenever an item is published or expires; exact search grows with N up to 500,000 (in eight bits from 400,000 numbers on; 200,000 where a processor has no VNNI, there in float32 for more than four at once), FAISS' HNSW above with log N; item-item sources with the neighbours kept of the items in the history,
not with N. Users: none for a request; memory in Redis only. History L (at most 100 events): the tower with L², item-item sources with L x neighbours. Scenarios: a
row of a table each; none for a request. Model: resident arrays grow with N (see the row `memory`); users are no part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from app.benchmarks.bench import Bench, ServeConfig, stops_in_order
from app.benchmarks.cores import choose_cores
from app.benchmarks.encoding import encoding_row
from app.benchmarks.feedback import bulk_row, single_row
from app.benchmarks.footprint import memory_row
from app.benchmarks.lifecycle import start_row, swap_row
from app.benchmarks.queries import query_row
from app.benchmarks.report import Report, Row
from app.benchmarks.variants import filter_row, items_row, slates_row, stale_row, strangers_row, workers_row
from app.benchmarks.wrk import find_wrk
from app.console import console, progress_bar
from app.encoding.encoder import Encoder
from app.errors import BadData, DuosceneError
from app.types import Json

# Those that write events come last: they make histories longer and the database larger.
ROWS: Mapping[str, Callable[[Bench], Iterator[Row]]] = {
    "slates": slates_row,
    "filter": filter_row,
    "items": items_row,
    "workers": workers_row,
    "query": query_row,
    "swap": swap_row,
    "start": start_row,
    "memory": memory_row,
    "encode": encoding_row,
    "strangers": strangers_row,
    "stale": stale_row,
    "feedback": single_row,
    "bulk": bulk_row,
}
QUICK = ("slates",)
WIDE = 170


def run_serve(config: ServeConfig, out: Path | None) -> dict[str, Json]:
    """The report that was also shown and, with `out`, written: of a row that could not be measured it says why. Raises BadSettings,
    BadData."""
    unknown = sorted(set(config.rows) - set(ROWS))
    if unknown:
        raise BadData(f"there is no row {unknown[0]!r}; choose from {', '.join(ROWS)}")
    find_wrk()
    report = Report(out)
    cores = choose_cores()
    if cores.are_shared:
        report.notes.append("one core only: load, stores and the API share it, so rates are lower than a core gives")
    report.surroundings["cores"] = {"api": list(cores.api), "load_and_stores": cores.load}
    with stops_in_order(), ExitStack() as stack, progress_bar() as bar:
        bench = Bench(config, cores, Encoder(), bar.report, stack)
        for name, row in ROWS.items():
            if not config.rows or name in config.rows:
                add(report, name, row, bench)
    report.write()
    for note in report.notes:
        console.print(f"[yellow]note:[/] {escape(note)}")
    paper = console if console.is_terminal else Console(width=WIDE, highlight=False)  # a pipe has no edge to wrap at
    paper.print(report.table())
    return report.as_json()


def add(report: Report, name: str, row: Callable[[Bench], Iterator[Row]], bench: Bench) -> None:
    """One row that fails must not cost the others."""
    try:
        for done in row(bench):
            report.add(done)
    except DuosceneError as error:
        report.notes.append(f"{name} was not measured: {error.detail}")
        report.write()
