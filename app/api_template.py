"""The process that API processes are forked from: it has imported what they need and, for several of them, loaded the encoder, so that they
come up in a moment and share that memory. One alone loads the encoder by itself, beside its first slates, which need it seldom.

`python -m app.api_template SOCKET BEATS`, as `api_handles` starts it: inherited file descriptors. It runs no event loop, opens no
connection and encodes nothing, so there is no thread of a pool and no lock that a fork could leave behind.

On standard input it is told to fork, one byte for each process; at the end of the input it leaves the socket alone and ends
once they have. On standard output it tells `forked PID` and `exited PID CODE`.
"""

from __future__ import annotations

import gc
import logging
import os
import selectors
import signal
import socket
import sys

gc.disable()  # what is imported stays: looking for garbage in it takes a sixth of the time. Until a forked process has started

from threadpoolctl import threadpool_limits

import app.wiring.services  # noqa: F401 - imported for those who are forked
from app.api_handles import FORK_WHEN_READY
from app.api_process import leave, run_api
from app.encoding.encoder import shared_model
from app.observability.logs import configure_logging
from app.processes import die_with_parent
from app.settings import load_settings

READ_BYTES = 4096
log = logging.getLogger(__name__)


def main() -> None:
    listener, beats = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
    reports = os.dup(1)
    os.dup2(2, 1)
    prepare()
    order = fork_when_told(listener, 0, reports)
    if order is not None:
        run_api(listener, beats=beats, when_ready=order == FORK_WHEN_READY)


def prepare() -> None:
    """All that forks share."""
    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    if settings.workers > 1:
        try:
            with threadpool_limits(1):  # a pool would not outlive the fork
                shared_model(settings.encoder, settings.encoder_dtype)
        except Exception as error:  # noqa: BLE001 - told again, to whoever asks with a text
            log.warning("the encoder cannot be loaded: %s", error)
    gc.collect()
    gc.freeze()  # the collector writes to what it looks at, and a page that is written to is shared no more


def fork_when_told(listener: socket.socket, orders: int, reports: int) -> bytes | None:
    """Returns in every process that is forked, with its order; in the template None, when all of them have ended and no order can come."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wake)
    running: set[int] = set()
    with selectors.DefaultSelector() as selector:
        selector.register(woken, selectors.EVENT_READ)
        selector.register(orders, selectors.EVENT_READ)
        while orders in selector.get_map() or running:
            ready = {key.fd for key, _ in selector.select()}
            if woken in ready:
                os.read(woken, READ_BYTES)
                reap(running, reports)
            given = os.read(orders, READ_BYTES) if orders in ready else None
            if given == b"":
                selector.unregister(orders)
                listener.close()
            for order in given or b"":
                pid = os.fork()
                if not pid:
                    become_api_process([woken, wake, reports], orders)
                    return bytes([order])
                running.add(pid)
                os.write(reports, b"forked %d\n" % pid)
    return None


def reap(running: set[int], reports: int) -> None:
    for pid in list(running):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            running.remove(pid)
            os.write(reports, b"exited %d %d\n" % (pid, os.waitstatus_to_exitcode(status)))


def become_api_process(unneeded: list[int], orders: int) -> None:
    die_with_parent()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, leave)
    for descriptor in unneeded:
        os.close(descriptor)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, orders)
    os.close(nothing)


if __name__ == "__main__":
    main()
