"""`duoscene up`: stores, migrations, first data, worker, API and first training as one process tree, stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shlex
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from urllib.parse import quote

import httpx
from rich.markup import escape

from app.access.key_ring import create_key
from app.access.keys import KeyStore
from app.catalogue.loading import import_path
from app.catalogue.sample_shop import generate_sample_shop
from app.catalogue.shop_data import ShopData
from app.console import console, counts_table, progress_bar, show_ending, watch_job
from app.errors import BadSettings, Conflict
from app.processes import Child
from app.settings import Settings, put_into_environment
from app.types import Progress, utc_now
from app.wiring.pseudonyms import outer_catalogue
from app.wiring.servers import StoreServers, use_servers
from app.wiring.stores import open_stores

SAMPLE = "sample"
API_STOP_SECONDS = 12.0
WORKER_STOP_SECONDS = 8.0
API_START_SECONDS = 120.0
MAX_EARLY_EXITS = 3
CHECK_SECONDS = 1.0
KEY_TO_FILL_IN = "<an API key>"


def run_up(settings: Settings, dataset: str | None) -> None:
    """Returns when it was told to stop (Ctrl-C, SIGTERM). dataset: "sample" or a path; None: the sample shop, if nothing
    is there yet.

    Raises BadSettings when another `up` has the data directory or the port is taken, BadData for a data set that cannot be
    read.
    """
    signal.signal(signal.SIGINT, _stop_once)
    signal.signal(signal.SIGTERM, _stop_once)
    with contextlib.suppress(KeyboardInterrupt), ExitStack() as stack:
        stack.enter_context(only_one_up(settings.data_dir))
        settings = listen_on(settings)
        servers = stack.enter_context(use_servers(settings))
        put_into_environment(servers.settings, "data_dir", "database_url", "redis_url", "host", "port", "workers")
        asyncio.run(fill_when_empty(servers.settings, dataset))
        start_child(stack, "worker", WORKER_STOP_SECONDS)
        # SIGINT: nobody takes over, so idle connections need not be waited for
        api = start_child(stack, "serve", API_STOP_SECONDS, signal.SIGINT)
        signal.signal(signal.SIGHUP, lambda number, frame: api.send(signal.SIGHUP))
        version = asyncio.run(train_when_untrained(servers.settings))
        wait_for_api(api, servers.settings, version)
        asyncio.run(show_welcome(servers.settings))
        keep_servers(servers)
    console.print("Stopped.")


def _stop_once(number: int, frame: FrameType | None) -> None:
    """From now on everything is stopped in order; a second signal must not cut that short."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    console.print("Stopping …")
    raise KeyboardInterrupt


@contextlib.contextmanager
def only_one_up(data_dir: Path) -> Iterator[None]:
    """Hold the data directory; the lock goes with the process, however it ends."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = (data_dir / "up.lock").open("a+")
    except OSError as error:
        raise BadSettings(f"the data directory {data_dir} cannot be written: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise BadSettings(
                f"another `duoscene up` (process {lock.read().strip() or 'unknown'}) uses {data_dir}; "
                "stop it, or choose another --data-dir and --port"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def listen_on(settings: Settings) -> Settings:
    """Settings with the port to use (0: a free one). Raises BadSettings when it is taken."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise BadSettings(
                f"cannot listen on {settings.host}:{settings.port} ({error.strerror}); choose another port with --port"
            ) from error
        return settings.model_copy(update={"port": probe.getsockname()[1]})


def start_child(
    stack: ExitStack, command: str, stop_seconds: float, stop_signal: signal.Signals = signal.SIGTERM
) -> Child:
    child = Child(command, ["-m", "app.cli", command], lambda line: print(line, flush=True))
    stack.callback(child.stop, stop_seconds, stop_signal)
    child.start()
    return child


async def fill_when_empty(settings: Settings, dataset: str | None) -> None:
    """Import the data set if the stores hold nothing, or if an earlier first import was cut short."""
    unfinished = settings.data_dir / "first-import.unfinished"
    async with open_stores(settings) as stores:
        counts = await stores.shop_data.counts()
        if any(counts.values()) and not unfinished.exists():
            if dataset is not None:
                console.print(
                    "[yellow]note:[/] --dataset is for the first start only, and there is data already; "
                    "`duoscene import PATH` adds to it"
                )
            return
        if dataset is None:
            dataset = unfinished.read_text() if unfinished.exists() else SAMPLE
        with progress_bar() as bar:
            data = await asyncio.to_thread(read_dataset, dataset, settings, bar.report)
            unfinished.write_text(dataset)
            counts = await stores.shop_data.load(data, bar.report)
            unfinished.unlink()
    console.print(counts_table("Imported", counts))


def read_dataset(dataset: str, settings: Settings, report: Progress) -> ShopData:
    """Cleaned, with the report printed. Raises BadData."""
    if dataset == SAMPLE:
        return generate_sample_shop(settings.seed, until=utc_now(), progress=report).data
    cleaned = import_path(Path(dataset), progress=report)
    console.print(cleaned.report)
    return cleaned.data


async def train_when_untrained(settings: Settings) -> str | None:
    """Watch the first training until there is a live model, and return its version; None when the training failed.

    One that an earlier, killed `up` began is begun anew.
    """
    async with open_stores(settings) as stores:
        is_ours = False
        while (live := await stores.versions.live()) is None and not is_ours:
            try:
                job_id, is_ours = (await stores.jobs.create("full", reason="first start")).job_id, True
            except Conflict as running:
                job_id = str(running.members["job_id"])
            ended = await watch_job(stores.jobs, job_id)
            if ended.state not in ("failed", "cancelled") or is_ours:
                show_ending(ended)
        return live.version if live else None


def wait_for_api(api: Child, settings: Settings, version: str | None) -> None:
    """Until a slate can be served, from the model if there is one. Raises BadSettings when the API dies again and again instead."""
    deadline = time.monotonic() + API_START_SECONDS
    while time.monotonic() < deadline and api.num_exits < MAX_EARLY_EXITS:
        with contextlib.suppress(httpx.TransportError):
            answer = httpx.get(f"{address_of(settings)}/readyz", timeout=2.0, trust_env=False)
            if answer.status_code == 200 and version in (None, answer.json()["model_version"]):
                return
        time.sleep(0.2)
    raise BadSettings("the API did not become ready; its lines above say why")


async def show_welcome(settings: Settings) -> None:
    async with open_stores(settings) as stores:
        key = await first_admin_key(stores.keys, settings)
        users = await outer_catalogue(settings, stores.catalogue).list_users(after=None, limit=1)
    if key is not None:
        console.print(f"\nAdmin key, shown this once: [bold]{escape(key)}[/]")
    shopper = f"&user_id={quote(users[0].user_id, safe='')}" if users else ""
    url = f"{address_of(settings)}/v1/recommendations?scenario=home{shopper}&n=5&fields=title"
    console.print(f"\nDuoscene answers at [bold]{address_of(settings)}[/] (API documentation: /docs). Try:\n")
    console.print(
        f"curl -H {shlex.quote(f'Authorization: Bearer {key or KEY_TO_FILL_IN}')} {shlex.quote(url)}\n", markup=False
    )
    console.print("Ctrl-C stops everything.")


async def first_admin_key(keys: KeyStore, settings: Settings) -> str | None:
    """A new admin key if there is none yet; only its digest is kept."""
    if settings.admin_key is not None or any(
        key.revoked_at is None and "admin" in key.scopes for key in await keys.all()
    ):
        return None
    return (await create_key(keys, "first start", {"admin"}, pepper=settings.pepper())).secret


def address_of(settings: Settings) -> str:
    """Where this machine reaches the API, also when it listens on every address."""
    is_any = settings.host in ("", "::") or settings.host == ".".join("0" * 4)
    host = "127.0.0.1" if is_any else f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}"


def keep_servers(servers: StoreServers) -> None:
    """Until a signal: an embedded store that died is started again."""
    while True:
        time.sleep(CHECK_SECONDS)
        servers.revive()
