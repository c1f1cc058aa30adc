"""`duoscene serve`. Imports little: the process only watches those that serve."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from types import FrameType

from app.api_processes import ApiProcesses
from app.errors import BadSettings
from app.observability.logs import configure_logging
from app.settings import Settings, put_into_environment
from app.wiring.servers import use_servers

BACKLOG = 2048  # connections that wait to be accepted


def serve_api(settings: Settings) -> None:
    """Until a signal; SIGHUP replaces the API processes one by one. They read their settings from the environment again.

    Raises BadSettings when the address is taken or a process cannot start.
    """
    configure_logging(settings.log_level, settings.log_format)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to replace
    signal.signal(signal.SIGTERM, _leave)
    with ExitStack() as stack:
        listener = stack.enter_context(listen(settings.host, settings.port))
        servers = stack.enter_context(use_servers(settings))
        put_into_environment(servers.settings, "database_url", "redis_url")
        if settings.workers > 1:
            stack.enter_context(shared_metrics())
        asyncio.run(ApiProcesses(listener, settings.workers).run())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # a second one must not cut short what is being closed


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


def listen(host: str, port: int) -> socket.socket:
    """port 0: a free one. Raises BadSettings."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise BadSettings(f"cannot listen on {host}:{port} ({error.strerror}); choose another DUOSCENE_PORT") from error


@contextlib.contextmanager
def shared_metrics() -> Iterator[None]:
    """A place where the API processes add up their counters; a new start counts from 0 like any process."""
    with tempfile.TemporaryDirectory(prefix="duoscene-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        yield
