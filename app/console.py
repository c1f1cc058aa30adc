"""What the command line shows: progress bars, tables of counts, errors in one line."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from app.errors import NotFound
from app.learning.evaluation.transfer_table import transfer_table
from app.learning.jobs import FINISHED, Job, JobStore

WATCH_SECONDS = 0.5
MIN_DONE_FOR_ETA = 0.03
console = Console(highlight=False, soft_wrap=True)
error_console = Console(stderr=True, highlight=False, soft_wrap=True)


def show_error(detail: str) -> None:
    error_console.print(f"[bold red]error:[/] {escape(detail)}")


def counts_table(title: str, counts: Mapping[str, int]) -> Table:
    table = Table(title=title, title_justify="left", show_header=False)
    for name, count in counts.items():
        table.add_row(escape(name.replace("_", " ")), f"{count:,}")
    return table


class Bar:
    """One bar that is moved from stage to stage; on a pipe each new stage is a line instead."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("starting", total=1.0)
        self._stage, self._since = "", time.monotonic()

    def report(self, stage: str, done: float, note: str = "") -> None:
        """A `Progress` for work in this process; the time left is that of the stage."""
        has_begun = stage == self._stage and done >= MIN_DONE_FOR_ETA
        self.move(stage, done, (time.monotonic() - self._since) * (1 - done) / done if has_begun else None)
        if note:
            self.note(f"{stage}: {note}")

    def move(self, stage: str, done: float, eta_seconds: float | None = None) -> None:
        if stage != self._stage:
            self._stage, self._since = stage, time.monotonic()
            if not self._bar.console.is_terminal:
                self._bar.console.print(f"{escape(stage)} …")
        eta = f", {eta_seconds:.0f} s left" if eta_seconds is not None else ""
        self._bar.update(self._task, completed=done, description=escape(stage + eta))

    def note(self, line: str) -> None:
        self._bar.console.print(f"[dim]{escape(line)}[/]")


@contextlib.contextmanager
def progress_bar() -> Iterator[Bar]:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield Bar(bar)


async def watch_job(jobs: JobStore, job_id: str) -> Job:
    """Draw a job that another process runs, until it has ended. Raises NotFound."""
    shown: tuple[str, ...] = ()
    with progress_bar() as bar:
        while True:
            job = await jobs.get(job_id)
            if job is None:
                raise NotFound(f"job {job_id} is gone", code="job_not_found")
            bar.move(job.stage or job.state, job.progress, job.eta_seconds)
            for line in lines_behind(shown, job.log_tail):
                bar.note(line)
            shown = job.log_tail
            if job.state in FINISHED:
                return job
            await asyncio.sleep(WATCH_SECONDS)


def lines_behind(shown: Sequence[str], tail: Sequence[str]) -> Sequence[str]:
    """What a tail that may have lost lines at its front has got since it was last shown."""
    for overlap in range(min(len(shown), len(tail)), 0, -1):
        if list(shown[-overlap:]) == list(tail[:overlap]):
            return tail[overlap:]
    return tail


def show_ending(job: Job) -> bool:
    """Print how a job ended. Returns whether it gave a usable model."""
    if job.state == "succeeded":
        console.print(f"[green]trained[/] model {job.model_version}")
    elif job.state == "rejected_by_gate":
        console.print(f"[yellow]model {job.model_version} was trained, but the gate rejected it[/]; the live one stays")
    else:
        show_error(f"the training {job.state}: {job.error or 'no reason given'} (job {job.job_id})")
    report = job.metrics.get("transfer")
    table = transfer_table(report) if isinstance(report, dict) else None
    if table is not None:
        console.print(table)
    return job.state in ("succeeded", "rejected_by_gate")
