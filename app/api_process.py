"""One API process: serves from a listening socket that others share, and leaves it without losing a request.

Forked from `api_template`, or alone as `python -m app.api_process SOCKET`, an inherited file descriptor.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
import time
from types import FrameType
from typing import Any

import uvicorn

from app.main import create_app

GRACE_SECONDS = 8  # for requests that are being answered
KEEP_ALIVE_SECONDS = 65  # longer than the 60 s of common proxies, so that it is they who close an idle connection
IDLE_SECONDS = 5.0  # a connection that brings no request for so long while draining is closed
BEAT_SECONDS = 1
READY_SECONDS = 120.0  # for a replacement, until it could serve a slate
LOOK_SECONDS = 0.05
SWITCH_SECONDS = 0.001  # a thread that makes slates gives the interpreter to the event loop as often: it has little to do and answers everybody
YOUNG_OBJECTS = 10_000  # new ones between two looks of the garbage collector
DOORS = 16  # connections that are accepted in one turn of the event loop, which may make a whole batch of slates


class DrainingServer(uvicorn.Server):
    """On SIGTERM it accepts no more connections and says `Connection: close` with every further answer, so that clients come back over a
    new connection, to another process. Connections that stay idle are closed after IDLE_SECONDS; at once after SIGINT."""

    def __init__(self, config: uvicorn.Config, beats: int | None) -> None:
        super().__init__(config)
        self._beats = beats

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        calm_interpreter()
        tell(self._beats)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        connection: Any
        for connection in list(self.server_state.connections):
            cycle = getattr(connection, "cycle", None)
            if cycle is not None and not cycle.response_complete:
                connection.shutdown()  # of one that is being answered: this answer is its last
        until = time.monotonic() + (0.0 if signal.SIGINT in self._captured_signals else IDLE_SECONDS)
        while self.server_state.connections and time.monotonic() < until:  # noqa: ASYNC110 - nothing announces their end
            await asyncio.sleep(LOOK_SECONDS)
        await super().shutdown(sockets)


def calm_interpreter() -> None:
    """Libraries, catalogue and first model are here: half a million objects that stay, so the collector need never look at them again, which
    takes it half a second of everybody's time. A model that is replaced is freed without it."""
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.freeze()
    gc.enable()
    gc.set_threshold(YOUNG_OBJECTS, 20, 20)


def tell(beats: int | None) -> None:
    if beats is not None:
        with contextlib.suppress(OSError):  # a full pipe, or nobody at its other end
            os.write(beats, b"%d\n" % os.getpid())


def leave(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


def run_api(listener: socket.socket, *, beats: int | None = None, when_ready: bool = False) -> None:
    """Until a signal. beats: a pipe that gets a line with the process id when this listens, and every second from its event loop. when_ready: listens only once it can serve a slate, and ends if that takes more than READY_SECONDS."""

    async def beat() -> None:
        tell(beats)

    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # is for `api_processes`, and a terminal sends it to all
    signal.signal(signal.SIGTERM, leave)  # uvicorn stops in order and then raises the signal again
    config = uvicorn.Config(
        lambda: create_app(ready_seconds=READY_SECONDS if when_ready else 0.0), factory=True,
        timeout_graceful_shutdown=GRACE_SECONDS, timeout_keep_alive=KEEP_ALIVE_SECONDS, callback_notify=beat,
        timeout_notify=BEAT_SECONDS, log_config=None, access_log=False, server_header=False,
        proxy_headers=False,
    )  # fmt: skip
    with contextlib.suppress(KeyboardInterrupt):
        DrainingServer(config, beats).run(sockets=doors_of(listener))


def doors_of(listener: socket.socket) -> list[socket.socket]:
    """Handles of one listening socket: libuv accepts one connection of each in a turn of the loop (since 1.45), whatever waits."""
    return [listener, *(listener.dup() for _ in range(DOORS - 1))]


if __name__ == "__main__":
    run_api(socket.socket(fileno=int(sys.argv[1])))
