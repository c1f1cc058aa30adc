"""What the short commands of the command line do; the others (`up`, `serve`, `evaluate`, `bench`, `backup`, `restore`, `doctor`) have files
of their own."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar

from rich.markup import escape
from rich.table import Table

from app.access.key_ring import NewKey, create_key
from app.catalogue.cleaning import write_rejects
from app.catalogue.loading import import_path
from app.catalogue.shop_data import ShopData
from app.catalogue.writer import write_shop_data
from app.console import console, counts_table, progress_bar, show_ending, watch_job
from app.errors import NotFound
from app.learning.job_progress import JobProgress
from app.learning.jobs import Activation, Job, JobMode
from app.learning.worker import Worker
from app.observability.logs import configure_logging
from app.settings import Settings
from app.types import utc_now
from app.wiring.live_state import open_live_state
from app.wiring.servers import use_servers
from app.wiring.stores import Stores, open_stores

T = TypeVar("T")
SETTLE_SECONDS = 10.0  # for Redis to hear of an import
WORKER_NICENESS = 10  # the API answers first when both want the same core


def run_worker(settings: Settings) -> None:
    """Until a signal. The running job fails then, and the process leaves even if its training does not listen."""
    configure_logging(settings.log_level, settings.log_format)
    os.nice(WORKER_NICENESS)
    with use_servers(settings) as servers:
        asyncio.run(_run_worker(servers.settings))
    logging.shutdown()
    os._exit(0)  # a training thread that is still in a long step must not hold up the exit


async def _run_worker(settings: Settings) -> None:
    from app.wiring.training import open_worker
    from app.wiring.upkeep import make_upkeep

    async with open_worker(settings) as worker, open_stores(settings) as stores:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, worker.stop)
        upkeep = asyncio.create_task(make_upkeep(settings, stores).run_forever(), name="upkeep")
        await worker.run_forever()
        upkeep.cancel()
        await asyncio.gather(upkeep, return_exceptions=True)


def train(settings: Settings, mode: JobMode, activation: Activation) -> bool:
    """One retraining run in this process, through the queue. False if it gave no model."""
    with use_servers(settings) as servers:
        return asyncio.run(_train(servers.settings, mode, activation))


async def _train(settings: Settings, mode: JobMode, activation: Activation) -> bool:
    from app.wiring.training import open_worker

    async with open_stores(settings) as stores, open_worker(settings) as worker:
        job = await stores.jobs.create(mode, reason="duoscene train", activation=activation)
        if not await _run_here(worker, job):
            console.print("A worker has taken the job; watching it.")
            return show_ending(await watch_job(stores.jobs, job.job_id))
        ended = await stores.jobs.get(job.job_id)
        if ended is None:
            raise NotFound(f"job {job.job_id} is gone", code="job_not_found")
        return show_ending(ended)


async def _run_here(worker: Worker, job: Job) -> bool:
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, worker.stop)
    with progress_bar() as bar:

        def draw(progress: JobProgress) -> None:
            bar.move(progress.stage, progress.fraction, progress.eta_seconds())
            for line in progress.take_unseen():
                bar.note(line)

        return await worker.run_one(job.job_id, draw)


def import_data(settings: Settings, path: Path, format: str, mapping: Mapping[str, str], *, dry_run: bool) -> None:
    """Read, clean, report, load. Safe to repeat. Raises BadData."""
    with progress_bar() as bar:
        cleaned = import_path(path, format, mapping, progress=bar.report)
    console.print(cleaned.report)
    if dry_run:
        console.print("Nothing was written: --dry-run.")
        return
    if len(cleaned.rejects):
        rejects = settings.data_dir / "rejects" / f"{path.resolve().name}-{utc_now():%Y%m%dT%H%M%S}.ndjson"
        write_rejects(cleaned.rejects, rejects)
        console.print(f"{len(cleaned.rejects):,} rejected rows: {escape(str(rejects))}")

    async def load(stores: Stores, running: Settings) -> Mapping[str, int]:
        try:
            with progress_bar() as bar:
                return await stores.shop_data.load(cleaned.data, bar.report)
        finally:  # it is loaded piece by piece: some may be there
            await forget_live_states(running, stores)

    console.print(counts_table("Imported", with_stores(settings, load)))


async def forget_live_states(settings: Settings, stores: Stores) -> None:
    """They are derived again from what is stored now. Says so where Redis does not answer in time."""
    async with open_live_state(settings, stores) as live_state:
        await live_state.forget_everybody()
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                await live_state.settle()
        except TimeoutError:
            console.print(
                "[yellow]Redis does not answer.[/] Shoppers and trends may lack what was imported; "
                "import it again when Redis answers: what is there is not written twice."
            )


def export_data(settings: Settings, directory: Path) -> None:
    """Everything, in the duoscene layout. Raises Conflict when the folder is not empty."""

    async def read(stores: Stores, running: Settings) -> ShopData:
        return await stores.shop_data.read()

    data = with_stores(settings, read)
    with progress_bar() as bar:
        write_shop_data(data, directory, bar.report)
    counts = {"items": len(data.items), "users": len(data.users), "events": len(data.events)}
    console.print(counts_table(f"Exported to {directory}", counts))


def make_key(settings: Settings, name: str, scopes: list[str], rate_limit_per_minute: int | None) -> None:
    """Raises Invalid for an unknown scope."""

    async def make(stores: Stores, running: Settings) -> NewKey:
        return await create_key(
            stores.keys, name, scopes, pepper=settings.pepper(), rate_limit_per_minute=rate_limit_per_minute
        )

    key = with_stores(settings, make)
    console.print(f"id      {key.record.key_id}\nscopes  {', '.join(sorted(key.record.scopes))}", markup=False)
    console.print(f"key     {key.secret}", markup=False)
    console.print("Keep it now: it is not stored and cannot be shown again.")


def list_keys(settings: Settings) -> None:
    table = Table("id", "name", "scopes", "created", "last used", "per minute", "revoked")
    for key in with_stores(settings, lambda stores, running: stores.keys.all()):
        times = [f"{at:%Y-%m-%d %H:%M}" if at else "" for at in (key.created_at, key.last_used_at, key.revoked_at)]
        rate = str(key.rate_limit_per_minute or "")
        table.add_row(key.key_id, escape(key.name), ", ".join(sorted(key.scopes)), *times[:2], rate, times[2])
    console.print(table)


def revoke_key(settings: Settings, key_id: str) -> None:
    """Raises NotFound for a key that is unknown or revoked already."""
    if not with_stores(settings, lambda stores, running: stores.keys.revoke(key_id)):
        raise NotFound(f"there is no live key {key_id!r}; `duoscene keys list` shows all", code="key_not_found")
    console.print(f"revoked {key_id}", markup=False)


def with_stores(settings: Settings, use: Callable[[Stores, Settings], Awaitable[T]]) -> T:
    """The result of `use` with open stores of a current schema, and the settings that hold their urls."""

    async def run(running: Settings) -> T:
        async with open_stores(running) as stores:
            return await use(stores, running)

    with use_servers(settings) as servers:
        return asyncio.run(run(servers.settings))
