"""A whole service made to be broken: PostgreSQL, Redis, API processes behind one socket, a worker; each can be killed, frozen
and started again. No supervisor: what is dead stays dead until the test starts it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from app.embedded.postgres import Postgres, start_postgres
from app.embedded.redis import Redis, start_redis
from app.stores.postgres.migrate import migrate

REPOSITORY = Path(__file__).resolve().parents[2]
ADMIN_KEY = "an-admin-key-for-the-fault-tests"
START_SECONDS = 120.0


class Site:
    """num_api: processes that share the listening socket, which is the test's own: while one of them lives, no connection
    is refused."""

    def __init__(self, folder: Path, num_api: int = 1, **environment: str) -> None:
        self.folder = folder
        self.num_api = num_api
        self._environment = environment
        self.postgres: Postgres = start_postgres(folder)
        self.redis: Redis = start_redis(folder)
        self.database_url, self.redis_url = self.postgres.url, self.redis.url
        migrate(self.database_url)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.api: list[subprocess.Popen[bytes] | None] = [None] * num_api
        self.worker: subprocess.Popen[bytes] | None = None

    def client(self, timeout: float = 60.0) -> httpx.Client:
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=timeout, trust_env=False)

    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("DUOSCENE_")}
        return inherited | {
            "PYTHONPATH": str(REPOSITORY),
            "DUOSCENE_DATABASE_URL": self.database_url,
            "DUOSCENE_REDIS_URL": self.redis_url,
            "DUOSCENE_DATA_DIR": str(self.folder),
            "DUOSCENE_ADMIN_KEY": ADMIN_KEY,
            "DUOSCENE_LOG_FORMAT": "json",
            "OMP_NUM_THREADS": "1",
        } | self._environment  # fmt: skip

    def start_api(self, place: int = 0, **more: str) -> None:
        """more: environment of this process alone."""
        descriptor = self._listener.fileno()
        with (self.folder / f"api-{place}.log").open("ab") as log:
            self.api[place] = subprocess.Popen(
                [sys.executable, "-m", "app.api_process", str(descriptor)],
                env=self.environment() | more, cwd=self.folder, stdout=log, stderr=log, pass_fds=[descriptor],
            )  # fmt: skip

    def start_worker(self) -> None:
        with (self.folder / "worker.log").open("ab") as log:
            self.worker = subprocess.Popen(
                [sys.executable, "-m", "app.cli", "worker"],
                env=self.environment(), cwd=self.folder, stdout=log, stderr=log,
            )  # fmt: skip

    def wait_ready(self) -> None:
        """Until a slate can be served."""
        deadline = time.monotonic() + START_SECONDS
        with self.client(timeout=START_SECONDS) as client:
            while client.get("/readyz").status_code != 200:
                assert time.monotonic() < deadline, "the API did not become ready"
                time.sleep(0.1)

    def kill_api(self, place: int = 0) -> None:
        end(self.api[place], signal.SIGKILL)
        self.api[place] = None

    def stop_api(self, place: int = 0) -> None:
        end(self.api[place], signal.SIGTERM)
        self.api[place] = None

    def freeze_api(self, place: int = 0) -> None:
        signal_to(self.api[place], signal.SIGSTOP)

    def thaw_api(self, place: int = 0) -> None:
        signal_to(self.api[place], signal.SIGCONT)

    def kill_worker(self) -> None:
        end(self.worker, signal.SIGKILL)
        self.worker = None

    def postgres_pids(self) -> list[int]:
        pid = self.postgres.pid
        return [
            pid,
            *(
                int(child)
                for path in Path(f"/proc/{pid}/task").glob("*/children")
                for child in path.read_text().split()
            ),
        ]

    def kill_postgres(self) -> None:
        """All of it at once; its backends would notice the postmaster's death only later."""
        for pid in self.postgres_pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert self.postgres.process is not None
        self.postgres.process.wait()

    def start_postgres(self) -> None:
        self.postgres = start_postgres(self.folder)

    def freeze_postgres(self) -> None:
        for pid in self.postgres_pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def thaw_postgres(self) -> None:
        for pid in self.postgres_pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def kill_redis(self) -> None:
        os.kill(self.redis.pid, signal.SIGKILL)
        assert self.redis.process is not None
        self.redis.process.wait()

    def start_redis(self) -> None:
        self.redis = start_redis(self.folder)

    def freeze_redis(self) -> None:
        os.kill(self.redis.pid, signal.SIGSTOP)

    def thaw_redis(self) -> None:
        os.kill(self.redis.pid, signal.SIGCONT)

    def exceptions(self) -> list[str]:
        """The different unexpected errors that the API processes logged."""
        found = dict[str, str]()
        for log in self.folder.glob("api-*.log"):
            for line in log.read_text(errors="replace").splitlines():
                with contextlib.suppress(ValueError):
                    entry = json.loads(line)
                    if isinstance(entry, dict) and (trace := entry.get("exception")):
                        found[trace.strip().rpartition("\n")[2]] = trace[-3000:]
        return list(found.values())

    def close(self) -> None:
        for process in (*self.api, self.worker):
            end(process, signal.SIGTERM)
        self._listener.close()
        with contextlib.suppress(ProcessLookupError):
            self.thaw_redis()
        self.thaw_postgres()
        self.redis.stop()
        self.postgres.stop()


def signal_to(process: subprocess.Popen[bytes] | None, number: signal.Signals) -> None:
    if process is not None:
        process.send_signal(number)


def end(process: subprocess.Popen[bytes] | None, how: signal.Signals) -> None:
    if process is not None:
        process.send_signal(how)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def open_site(folder: Path, num_api: int = 1, **environment: str) -> Iterator[Site]:
    site = Site(folder, num_api, **environment)
    try:
        yield site
    finally:
        site.close()
        shutil.rmtree(folder, ignore_errors=True)
