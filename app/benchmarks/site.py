"""A whole service for measuring: embedded stores filled with a synthetic shop, a model, and the service's own command beside them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from app.access.key_ring import create_key
from app.benchmarks.cores import Cores, pinned_to
from app.benchmarks.proc import children
from app.benchmarks.shop import make_shop, user_ids
from app.benchmarks.snapshot import untrained
from app.catalogue.shop_data import ShopData
from app.encoding.encoder import Encoder
from app.errors import DuosceneError
from app.features.texts import scenario_text
from app.processes import die_with_parent
from app.release.version import ModelVersion
from app.retrieval.snapshot import Snapshot
from app.scenarios.defaults import READY_MADE
from app.settings import PREFIX, Settings
from app.types import Progress, utc_now
from app.wiring.encoding import open_encoder
from app.wiring.servers import use_servers
from app.wiring.stores import open_stores

EVENTS_PER_ITEM = (
    10  # the sources are fitted on so many, up to MAX_FITTED_USERS; the database gets those of the users served
)
MAX_FITTED_USERS = 40_000
START_SECONDS = 600.0
STOP_SECONDS = 30.0


@dataclass(frozen=True)
class Site:
    """settings: with the urls of running stores. key: may recommend and post feedback. build_seconds: from nothing to the artifact."""

    settings: Settings
    key: str
    users: tuple[str, ...]
    num_items: int
    model: Path
    build_seconds: float

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    @property
    def version(self) -> str:
        return self.model.name


@dataclass(frozen=True)
class Service:
    """url: of a process that listens. supervisor: its grandparent, `duoscene serve`; the bare route has none above it."""

    url: str
    process: subprocess.Popen[bytes]
    is_supervised: bool
    seconds_to_first_answer: float

    @property
    def pids(self) -> list[int]:
        """The processes that answer."""
        if not self.is_supervised:
            return [self.process.pid]
        return [pid for template in children(self.process.pid) for pid in children(template)]


@contextlib.contextmanager
def open_site(
    num_items: int, num_users: int, cores: Cores, encoder: Encoder, progress: Progress, parent: Path | None = None
) -> Iterator[Site]:
    """Never touches the stores of the environment. parent: where the data are kept meanwhile; None: the temporary folder."""
    with tempfile.TemporaryDirectory(prefix="duoscene-bench-", dir=parent) as folder:
        Path(folder).chmod(0o711)  # as root, PostgreSQL runs as another user
        settings = Settings(
            data_dir=Path(folder), database_url=None, redis_url=None, artifact_url=None, key_pepper=None
        )
        with pinned_to(cores.load):
            servers = use_servers(settings)
            running = servers.__enter__().settings
        try:
            begin = time.monotonic()
            progress("make a shop", 0.0)
            num_fitted = min(MAX_FITTED_USERS, max(num_users, num_items * EVENTS_PER_ITEM // 50))
            shop = make_shop(num_items, num_fitted)
            served = user_ids(num_users)
            revision, key = asyncio.run(_fill(running, shop, served, progress))
            progress("fit a model", 0.0)
            model = asyncio.run(publish(running, untrained(shop, encoder, revision)))
            yield Site(running, key, tuple(served), num_items, model, time.monotonic() - begin)
        finally:
            servers.__exit__(None, None, None)


async def _fill(settings: Settings, shop: ShopData, served: Sequence[str], progress: Progress) -> tuple[int, str]:
    """The catalogue's revision and an API key."""
    loaded = ShopData(
        shop.items, shop.users.filter(shop.users["user_id"].is_in(served)),
        shop.events.filter(shop.events["user_id"].is_in(served)),
    )  # fmt: skip
    async with open_stores(settings) as stores:
        await stores.shop_data.load(loaded, progress)
        key = await create_key(stores.keys, "bench", ["recommend", "feedback"])
        return (await stores.revisions.read()).catalogue, key.secret


async def publish(settings: Settings, snapshot: Snapshot, *, live: bool = True) -> Path:
    directory = Path(settings.models_url()) / snapshot.version
    await asyncio.to_thread(lambda: snapshot.save(directory, snapshot.graphs()))  # as a training saves it
    async with open_stores(settings) as stores:
        texts = [scenario_text(scenario) for scenario in READY_MADE.values()]
        await asyncio.to_thread(open_encoder(settings, stores).encode, texts)  # and kept, as a training does
        await stores.versions.add(ModelVersion(snapshot.version, utc_now(), "full", verdict="passed"))
    if live:
        await activate(settings, snapshot.version)
    return directory


async def activate(settings: Settings, version: str) -> None:
    async with open_stores(settings) as stores:
        await stores.versions.activate(version)


@contextlib.contextmanager
def serve(site: Site, cores: Cores, workers: int = 1) -> Iterator[Service]:
    """`duoscene serve`, until a slate comes from the model. Raises DuosceneError when none comes within START_SECONDS."""
    settings = site.settings
    port = free_port()
    environment = {
        "DATABASE_URL": settings.database_url, "REDIS_URL": settings.redis_url, "DATA_DIR": str(settings.data_dir),
        "HOST": "127.0.0.1", "PORT": str(port), "WORKERS": str(workers), "LOG_FORMAT": "json", "LOG_LEVEL": "WARNING",
    }  # fmt: skip
    with _process(["-m", "app.cli", "serve"], cores.api, settings.data_dir / "serve.log", environment) as process:
        begin = time.monotonic()
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=url, headers=site.headers, trust_env=False, timeout=60) as client:
            _wait(client, site, process, settings.data_dir / "serve.log")
            seconds = time.monotonic() - begin
            client.get(
                "/v1/recommendations", params={"scenario": "home", "query": "warm up"}
            )  # once the encoder is there
        yield Service(url, process, True, seconds)


@contextlib.contextmanager
def serve_bare(body: bytes, cores: Cores, folder: Path) -> Iterator[Service]:
    """`app.benchmarks.bare` on the core of the API."""
    file = folder / "bare.json"
    file.write_bytes(body)
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        number = listener.fileno()
        command = ["-m", "app.benchmarks.bare", str(number), str(file)]
        with _process(command, cores.api[:1], folder / "bare.log", {}, [number]) as process:
            begin = time.monotonic()
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            httpx.get(url, trust_env=False, timeout=60)  # it waits in the socket's queue until the process is up
            yield Service(url, process, False, time.monotonic() - begin)


@contextlib.contextmanager
def _process(
    arguments: Sequence[str], cores: Sequence[int], log: Path, environment: Mapping[str, str | None],
    descriptors: Sequence[int] = (),
) -> Iterator[subprocess.Popen[bytes]]:  # fmt: skip
    ours = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    given = {PREFIX + name: value for name, value in environment.items() if value is not None}
    with log.open("wb") as output, pinned_to(*cores):
        process = subprocess.Popen(
            [sys.executable, *arguments], env=ours | given, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            pass_fds=descriptors, preexec_fn=die_with_parent, cwd=log.parent,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(client: httpx.Client, site: Site, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise DuosceneError(f"`duoscene serve` ended: {log.read_text(errors='replace')[-500:]}")
        with contextlib.suppress(httpx.TransportError):
            answer = client.get("/v1/recommendations", params={"scenario": "home", "user_id": site.users[0]})
            if answer.status_code == 200 and answer.json()["model_version"] == site.version:
                return
        time.sleep(0.02)
    raise DuosceneError(f"no slate of the model within {START_SECONDS:.0f} s of the start")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
