"""Child processes of `duoscene up`: their output passed on, restarted when they die, stopped in good time."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence

FIRST_DELAY_SECONDS = 1.0
MAX_DELAY_SECONDS = 30.0
STEADY_SECONDS = 60.0  # after so long a life the delays begin anew
MAX_LINE_BYTES = 1 << 16
PR_SET_PDEATHSIG = 1
log = logging.getLogger(__name__)


class Child:
    """One process that is kept running from `start` to `stop`, watched by a thread of its own.

    arguments: of the Python interpreter, e.g. ["-m", "app.cli", "serve"].
    show: gets every line the process prints; called from a thread.
    """

    def __init__(self, name: str, arguments: Sequence[str], show: Callable[[str], None]) -> None:
        self.name = name
        self._command = [sys.executable, *arguments]
        self._show = show
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name=f"keeper of {name}", daemon=True)
        self.num_exits = 0

    def start(self) -> None:
        self._keeper.start()

    def stop(self, seconds: float, first: signal.Signals = signal.SIGTERM) -> None:
        """The signal `first`, and SIGKILL for what is still there after `seconds`. May be called twice, or before `start`."""
        self._stopping.set()
        if not self._keeper.is_alive():
            return
        self._signal(first)
        self._keeper.join(seconds)
        if self._keeper.is_alive():
            log.warning("%s did not stop within %.0f s and is killed", self.name, seconds)
            self._signal(signal.SIGKILL)
            self._keeper.join()

    def send(self, number: signal.Signals) -> None:
        """To the process alone, not to its own children."""
        if self._process is not None:
            self._process.send_signal(number)

    def _keep(self) -> None:
        """The process dies with the thread that started it (see die_with_parent), so one thread starts and awaits it."""
        delay = FIRST_DELAY_SECONDS
        while not self._stopping.is_set():
            started = time.monotonic()
            code = self._run_once()
            self.num_exits += 1
            if self._stopping.is_set():
                return
            if time.monotonic() - started > STEADY_SECONDS:
                delay = FIRST_DELAY_SECONDS
            self._show(f"{self.name} ended ({describe_exit(code)}); it starts again in {delay:.0f} s")
            self._stopping.wait(delay)
            delay = min(delay * 2, MAX_DELAY_SECONDS)

    def _run_once(self) -> int:
        process = subprocess.Popen(
            self._command, env={**os.environ, "PYTHONUNBUFFERED": "1"}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=die_with_parent,
        )  # fmt: skip
        self._process = process
        if self._stopping.is_set():  # `stop` looked before there was a process to signal
            self._signal(signal.SIGTERM)
        reader = threading.Thread(target=self._pass_on, args=(process,), daemon=True)
        reader.start()
        code = process.wait()
        self._signal(signal.SIGKILL)  # what it left behind in its group, e.g. API workers of a killed supervisor
        reader.join(5.0)
        return code

    def _pass_on(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout as output:
            while line := output.readline(MAX_LINE_BYTES):
                self._show(line.decode(errors="replace").rstrip("\n"))

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)


def describe_exit(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"signal {signal.Signals(-code).name}"
    return f"signal {-code}"


# Loaded here and not after the fork, where little may be done safely.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent(number: signal.Signals = signal.SIGTERM) -> None:
    """On Linux a killed `up` takes its children along, so that the next one finds the port and the queue free."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, number)
