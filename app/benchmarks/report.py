"""What a run of a benchmark found: rows with their references and goals, and what it was run on."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from rich.markup import escape
from rich.table import Table

from app.types import Json, utc_now


@dataclass(frozen=True, slots=True)
class Bound:
    """figure >= least, or figure <= most. goal: what is wished for beyond what must be; it decides nothing."""

    figure: str
    least: float | None = None
    most: float | None = None
    goal: str = ""

    def holds(self, figures: Mapping[str, Json]) -> bool | None:
        """None: the figure is not there."""
        value = figures.get(self.figure)
        if not isinstance(value, int | float):
            return None
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def __str__(self) -> str:
        wanted = f"≥ {self.least:g}" if self.least is not None else f"≤ {self.most:g}"
        return f"{self.figure} {wanted}" + (f" (goal {self.goal})" if self.goal else "")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. figures: their names end in a unit where they have one. note: what a reader must know."""

    name: str
    what: str
    reference: str
    figures: Mapping[str, Json]
    bounds: Sequence[Bound] = ()
    note: str = ""

    def as_json(self) -> dict[str, Json]:
        bounds: list[Json] = [{"bound": str(bound), "holds": bound.holds(self.figures)} for bound in self.bounds]
        return {
            "name": self.name, "what": self.what, "reference": self.reference, "figures": dict(self.figures),
            "bounds": bounds, "note": self.note,
        }  # fmt: skip


@dataclass
class Report:
    """notes: what is wrong with the surroundings. Written after every row, so that a run that stops keeps what it had."""

    out: Path | None
    notes: list[str] = field(default_factory=list)
    surroundings: dict[str, Json] = field(default_factory=lambda: surroundings())
    rows: list[Row] = field(default_factory=list)

    def add(self, row: Row) -> None:
        self.rows.append(row)
        self.write()

    def as_json(self) -> dict[str, Json]:
        return {**self.surroundings, "notes": [*self.notes], "rows": [row.as_json() for row in self.rows]}

    def write(self) -> None:
        if self.out is not None:
            self.out.write_bytes(orjson.dumps(self.as_json(), option=orjson.OPT_INDENT_2))

    def table(self) -> Table:
        table = Table("what", "reference in the same run", "figures", "bounds", show_lines=True)
        for row in self.rows:
            what = f"[bold]{escape(row.name)}[/]\n{escape(row.what)}" + (
                f"\n[dim]{escape(row.note)}[/]" if row.note else ""
            )
            table.add_row(what, escape(row.reference), "\n".join(_figures(row)), "\n".join(_bounds(row)))
        return table


def _figures(row: Row) -> Iterator[str]:
    for name, value in row.figures.items():
        shown = (
            f"{value:,.0f}"
            if isinstance(value, int | float) and abs(value) >= 1_000
            else f"{value:.3g}"
            if isinstance(value, float)
            else str(value)
        )
        yield f"{escape(name)} {escape(shown)}"


def _bounds(row: Row) -> Iterator[str]:
    for bound in row.bounds:
        holds = bound.holds(row.figures)
        mark = "[yellow]not measured[/]" if holds is None else "[green]holds[/]" if holds else "[red]fails[/]"
        yield f"{escape(str(bound))}: {mark}"


def surroundings() -> dict[str, Json]:
    load: list[Json] = list(os.getloadavg())
    return {
        "command": "duoscene " + shlex.join(sys.argv[1:]),
        "revision": revision(),
        "at": utc_now().isoformat(timespec="seconds"),
        "machine": {
            "processor": processor(), "cores": os.cpu_count(), "memory_gib": round(memory_gib(), 1),
            "system": platform.platform(), "load_average_before": load,
        },
        "python": platform.python_version(),
    }  # fmt: skip


def revision() -> str:
    """Of the checkout this code is in, with "+changes" where files differ from it; "unknown" outside one."""
    folder = Path(__file__).parent
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True)
        state = subprocess.run(["git", "status", "--porcelain"], cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("+changes" if state.stdout.strip() else "")


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
