"""`duoscene serve` under real load: its processes are replaced one by one, then killed, then told to stop; what a caller sees of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import httpx
import pytest

from app.benchmarks.proc import children
from tests.conftest import Servers, database_named, run_sql
from tests.integration.http.conftest import ADMIN_KEY, REPOSITORY

NUM_PROCESSES = 2
NUM_SHOPPERS = 8
SILENT_BEATS = 15  # instead of 30: seconds that a process may hang
SERVE = f"""
import app.api_handles
app.api_handles.SILENT_BEATS = {SILENT_BEATS}
from app.cli import app
app(["serve"])
"""
ITEMS = [{"item_id": f"sku-{n}", "title": f"Thing {n}"} for n in range(30)]
HEADERS = {"Authorization": f"Bearer {ADMIN_KEY}"}


class Serve:
    """`duoscene serve` as its own process."""

    def __init__(self, database_url: str, redis_url: str, folder: Path, num_processes: int = NUM_PROCESSES) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DUOSCENE_")} | {
            "PYTHONPATH": str(REPOSITORY), "DUOSCENE_DATABASE_URL": database_url, "DUOSCENE_REDIS_URL": redis_url,
            "DUOSCENE_DATA_DIR": str(folder), "DUOSCENE_ADMIN_KEY": ADMIN_KEY, "DUOSCENE_LOG_FORMAT": "json",
            "DUOSCENE_WORKERS": str(num_processes), "DUOSCENE_PORT": str(free_port()),
        }  # fmt: skip
        self.database_url, self.redis_url = database_url, redis_url
        self.url = f"http://127.0.0.1:{environment['DUOSCENE_PORT']}"
        self.log = folder / "serve.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SERVE], env=environment, cwd=folder, stdout=log, stderr=log,
            )  # fmt: skip

    def processes(self) -> set[int]:
        """Those that serve: forked by the children of this one."""
        return {pid for template in children(self.process.pid) for pid in children(template)}

    def lines_with(self, words: str) -> int:
        return self.log.read_text().count(words)

    def all_listen(self) -> bool:
        found = self.processes()
        return len(found) == NUM_PROCESSES and all(self.lines_with(f"API process {pid} listens") for pid in found)

    def listening(self) -> set[int]:
        """Those of the processes that hold the listening socket and have told so."""
        with httpx.Client(base_url=self.url, trust_env=False) as client, contextlib.suppress(httpx.TransportError):
            if client.get("/readyz").status_code == 200:
                return self.processes()
        return set()


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def serve(servers: Servers, template_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    name = f"duoscene_restart_{uuid.uuid4().hex[:12]}"
    run_sql(servers.database_url, f'CREATE DATABASE "{name}" TEMPLATE "{template_database}"')
    folder = tmp_path_factory.mktemp("restart")
    serve = Serve(database_named(servers.database_url, name), servers.redis_url, folder)
    try:
        until(lambda: bool(serve.listening()), serve)
        with httpx.Client(base_url=serve.url, headers=HEADERS, trust_env=False) as client:
            assert client.post("/v1/items", json=ITEMS).is_success
        yield serve
    finally:
        serve.process.kill()
        serve.process.wait()
        run_sql(servers.database_url, f'DROP DATABASE "{name}" WITH (FORCE)')


def until(condition: Callable[[], bool], serve: Serve, seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, serve.log.read_text()[-5000:]
        time.sleep(0.1)


@dataclass
class Load:
    """failures: everything that was not a 2xx. acknowledged: event ids with a 202."""

    failures: list[str] = field(default_factory=list)
    acknowledged: set[str] = field(default_factory=set)
    slates: int = 0

    async def shop(self, http: httpx.AsyncClient, number: int) -> None:
        turn = 0
        while True:
            turn += 1
            event = {"type": "click", "user_id": f"u{number}", "item_id": f"sku-{turn % 30}"}
            events = {"events": [event | {"event_id": f"r{number}-{turn}-{place}"} for place in range(3)]}
            if (answer := await self.ask(http, "/v1/feedback", events)) is not None:
                self.acknowledged.update(answer.json()["event_ids"])
            slate = {"scenario": "home", "user_id": f"u{number}", "n": 10}
            if (answer := await self.ask(http, "/v1/recommendations", slate)) is not None:
                self.slates += len(answer.json()["items"]) == 10
            await asyncio.sleep(
                0.03 + 0.03 * number
            )  # some are busy, some pause; the processes that start need a core as well

    async def ask(self, http: httpx.AsyncClient, path: str, body: object) -> httpx.Response | None:
        try:
            answer = await http.post(path, json=body)
        except httpx.HTTPError as error:
            self.failures.append(f"{path}: {error!r}")
            return None
        if not answer.is_success:
            self.failures.append(f"{path}: {answer.status_code} {answer.text[:200]}")
            return None
        return answer


@contextlib.asynccontextmanager
async def under_load(serve: Serve) -> AsyncIterator[Load]:
    """Shoppers on connections that are kept, and one that opens a new one for every call."""
    load = Load()
    kept = httpx.AsyncClient(base_url=serve.url, headers=HEADERS, timeout=60, trust_env=False)
    new = httpx.AsyncClient(
        base_url=serve.url,
        headers=HEADERS,
        timeout=60,
        trust_env=False,
        limits=httpx.Limits(max_keepalive_connections=0),
    )
    async with kept, new:
        shoppers = [asyncio.create_task(load.shop(kept if number else new, number)) for number in range(NUM_SHOPPERS)]
        yield load
        for shopper in shoppers:
            shopper.cancel()
        await asyncio.gather(*shoppers, return_exceptions=True)


async def stored(serve: Serve) -> set[str]:
    connection = await asyncpg.connect(serve.database_url)
    try:
        return {row["event_id"] for row in await connection.fetch("SELECT event_id FROM events")}
    finally:
        await connection.close()


async def test_a_rolling_restart_loses_no_request(serve: Serve) -> None:
    before = serve.processes()
    assert len(before) == NUM_PROCESSES
    async with under_load(serve) as load:
        await asyncio.sleep(0.5)
        serve.process.send_signal(signal.SIGHUP)
        await asyncio.to_thread(until, lambda: serve.lines_with("API processes are new") == 1, serve)
        at_the_end = load.slates
        while load.slates < at_the_end + 50:
            assert not load.failures, load.failures[:5]
            await asyncio.sleep(0.05)
    assert load.failures == []
    assert serve.processes().isdisjoint(before)
    assert len(serve.processes()) == NUM_PROCESSES
    assert load.acknowledged <= await stored(serve)
    print(f"\n{load.slates} slates, {len(load.acknowledged)} events while the processes were replaced")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hangs"])
async def test_a_process_that_is_gone_is_replaced_and_the_other_serves_meanwhile(
    serve: Serve, how: signal.Signals
) -> None:
    await asyncio.to_thread(until, serve.all_listen, serve)
    victim, *others = serve.processes()
    os.kill(victim, how)
    async with httpx.AsyncClient(base_url=serve.url, headers=HEADERS, timeout=60, trust_env=False) as http:
        answer = await http.post("/v1/recommendations", json={"scenario": "home"})
        assert answer.status_code == 200
    await asyncio.to_thread(until, lambda: len(serve.processes() - {victim, *others}) == 1, serve)
    assert victim not in serve.processes()


async def test_a_template_that_is_gone_is_replaced_with_all_that_it_forked(serve: Serve) -> None:
    """Those drain, and no request fails meanwhile."""
    await asyncio.to_thread(until, serve.all_listen, serve)
    (template,), before = children(serve.process.pid), serve.processes()
    async with under_load(serve) as load:
        os.kill(template, signal.SIGKILL)
        await asyncio.to_thread(until, lambda: serve.all_listen() and serve.processes().isdisjoint(before), serve)
        at_the_end = load.slates
        while load.slates < at_the_end + 20:  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.05)
    assert load.failures == []
    assert template not in children(serve.process.pid)


def test_a_template_has_no_threads_that_a_fork_could_break(serve: Serve) -> None:
    """Those of polars and pyarrow only sleep; a pool of torch, FAISS or BLAS would not outlive the fork."""
    (template,) = children(serve.process.pid)
    names = [path.read_text().strip() for path in Path(f"/proc/{template}/task").glob("*/comm")]
    assert sorted(set(names)) == ["jemalloc_bg_thd", "polars-ooc-clea", "python"]
    assert names.count("python") == 1


def test_one_process_alone_does_not_wait_for_the_encoder_and_several_share_it(serve: Serve, tmp_path: Path) -> None:
    alone = Serve(serve.database_url, serve.redis_url, tmp_path, num_processes=1)
    try:
        until(lambda: bool(alone.listening()), alone)
        assert [has_encoder(pid) for pid in children(alone.process.pid)] == [False]
        assert [has_encoder(pid) for pid in children(serve.process.pid)] == [True]
        with httpx.Client(base_url=alone.url, headers=HEADERS, timeout=60, trust_env=False) as client:
            assert client.get("/v1/recommendations", params={"query": "thing", "scenario": "search"}).is_success
        until(lambda: all(map(has_encoder, alone.processes())), alone)
    finally:
        alone.process.send_signal(signal.SIGINT)
        alone.process.wait()


def has_encoder(pid: int) -> bool:
    return "tokenizers" in Path(f"/proc/{pid}/maps").read_text()


async def test_a_second_server_on_the_port_is_refused(serve: Serve, tmp_path: Path) -> None:
    environment = os.environ | {
        "PYTHONPATH": str(REPOSITORY), "DUOSCENE_PORT": serve.url.rpartition(":")[2], "DUOSCENE_DATA_DIR": str(tmp_path)
    }  # fmt: skip
    second = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-m", "app.cli", "serve"], env=environment, cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert second.returncode == 2
    assert "cannot listen" in second.stderr


async def test_a_stop_answers_what_was_begun_and_keeps_what_was_acknowledged(serve: Serve) -> None:
    """The last one: SIGTERM under load. A request whose body is still on its way, and one on a connection that was idle, are
    answered; every other connection is refused or cut before an answer, none gets an error."""
    host, port = serve.url.removeprefix("http://").split(":")
    body = b'{"type": "click", "user_id": "u-late", "item_id": "sku-1", "event_id": "late"}'
    head = f"Host: {host}\r\nAuthorization: Bearer {ADMIN_KEY}\r\nContent-Type: application/json\r\n".encode()
    post = b"POST /v1/feedback HTTP/1.1\r\n" + head + f"Content-Length: {len(body)}\r\n\r\n".encode()
    slow_reader, slow_writer = await asyncio.open_connection(host, int(port))
    idle_reader, idle_writer = await asyncio.open_connection(host, int(port))
    idle_writer.write(b"GET /healthz HTTP/1.1\r\n" + head + b"\r\n")
    assert b"connection: close" not in (await idle_reader.readuntil(b"\r\n\r\n")).lower()
    await idle_reader.readuntil(b"}")
    slow_writer.write(post + body[:20])
    async with under_load(serve) as load:
        while not load.slates:  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.05)
        serve.process.send_signal(signal.SIGTERM)
        while not any("ConnectError" in failure for failure in load.failures):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        idle_writer.write(b"GET /healthz HTTP/1.1\r\n" + head + b"\r\n")
        slow_writer.write(body[20:])
        idle_answer, slow_answer = await idle_reader.read(), await slow_reader.read()
        assert await asyncio.to_thread(serve.process.wait, 40) == 0
    assert idle_answer.startswith(b"HTTP/1.1 200")
    assert slow_answer.startswith(b"HTTP/1.1 202")
    assert b"connection: close" in idle_answer.lower()
    assert b"connection: close" in slow_answer.lower()
    assert all("Error(" in failure for failure in load.failures), load.failures[:5]
    assert load.acknowledged | {"late"} <= await stored(serve)
    assert serve.lines_with("Traceback") == 0


async def test_nothing_outlives_a_supervisor_that_is_killed(serve: Serve, tmp_path: Path) -> None:
    other = Serve(serve.database_url, serve.redis_url, tmp_path)
    try:
        await asyncio.to_thread(until, other.all_listen, other)
        (template,) = children(other.process.pid)
        family = {template, *other.processes()}
    finally:
        other.process.kill()
        other.process.wait()
    await asyncio.to_thread(until, lambda: not any(Path(f"/proc/{pid}").exists() for pid in family), other)
