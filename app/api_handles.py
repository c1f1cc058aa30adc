"""What `api_processes` holds of the processes it has: their template, and each one that was forked from it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from typing import Any

from app.errors import BadSettings
from app.processes import describe_exit, die_with_parent

STOP_SECONDS = 20.0  # draining, then closing; SIGKILL after that
SILENT_BEATS = 30  # seconds without a turn of its event loop: the process hangs
START_BEATS = 180  # seconds to its first sign of life
TEMPLATE_SECONDS = 180.0  # to import everything and to fork
FORK, FORK_WHEN_READY = b"f", b"r"
log = logging.getLogger(__name__)


class ApiProcess:
    """From its fork to its exit. listens: set with its first sign of life. exited: with its exit code."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._silent_beats = 0
        self.listens = asyncio.Event()
        self.started_at = time.monotonic()
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def hear(self) -> None:
        """It gave a sign of life."""
        self._silent_beats = 0
        if not self.listens.is_set():
            log.info("API process %d listens", self.pid)
        self.listens.set()

    def check(self) -> None:
        """Called every second. Kills the process when it has not given a sign of life for SILENT_BEATS calls, or START_BEATS at its start:
        counted and not timed, because all processes may have been suspended together."""
        self._silent_beats += 1
        if self._silent_beats == (SILENT_BEATS if self.listens.is_set() else START_BEATS):
            log.error("API process %d hangs and is killed", self.pid)
            self._signal(signal.SIGKILL)

    async def comes_to_listen(self, seconds: float) -> bool:
        """False when it ended before, or took longer."""
        listening = asyncio.create_task(self.listens.wait())
        events: list[asyncio.Future[Any]] = [listening, self.exited]
        await asyncio.wait(events, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()
        return self.listens.is_set() and not self.exited.done()

    async def stop(self) -> None:
        """Drains; may be called twice."""
        self._signal(signal.SIGTERM)
        await asyncio.wait([self.exited], timeout=STOP_SECONDS)
        if not self.exited.done():
            log.warning("API process %d did not stop within %.0f s and is killed", self.pid, STOP_SECONDS)
            self._signal(signal.SIGKILL)
            await self.exited

    def _signal(self, number: signal.Signals) -> None:
        if not self.exited.done():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Template:
    """`app.api_template` on its own code, whatever this process has imported. If it dies, what was forked from it drains and counts as
    ended."""

    def __init__(self, process: asyncio.subprocess.Process, beats: int) -> None:
        self._process = process
        self._beats = beats
        self._running: dict[int, ApiProcess] = {}
        self._forked: asyncio.Queue[ApiProcess | None] = asyncio.Queue()
        self._one_at_a_time = asyncio.Lock()
        asyncio.get_running_loop().add_reader(beats, self._hear)
        self.ended = asyncio.create_task(self._follow())

    @classmethod
    async def start(cls, listener: socket.socket) -> Template:
        """Raises BadSettings when the machine has no room for another process."""
        try:
            return await cls._start(listener)
        except OSError as error:
            raise BadSettings(f"an API process could not start ({error.strerror or error})") from error

    @classmethod
    async def _start(cls, listener: socket.socket) -> Template:
        ours, theirs = os.pipe()
        os.set_blocking(theirs, False)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "app.api_template", str(listener.fileno()), str(theirs),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, pass_fds=[listener.fileno(), theirs],
                preexec_fn=ignore_signals,
            )  # fmt: skip
        except OSError:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        return cls(process, ours)

    async def fork(self, *, when_ready: bool = False) -> ApiProcess:
        """when_ready: it listens once it can serve. Raises BadSettings when the template has ended or takes too long."""
        assert self._process.stdin
        async with self._one_at_a_time:
            if not self.ended.done():
                self._process.stdin.write(FORK_WHEN_READY if when_ready else FORK)
                with contextlib.suppress(TimeoutError):
                    forked = await asyncio.wait_for(self._forked.get(), TEMPLATE_SECONDS)
                    if forked is not None:
                        return forked
                self._kill()
            how = describe_exit(await self.ended)
        raise BadSettings(f"an API process could not start ({how}); its lines above say why")

    def retire(self) -> None:
        """It forks no more, and ends with the last of what was forked from it."""
        assert self._process.stdin
        self._process.stdin.close()

    async def stop(self) -> None:
        """What was forked from it, then itself."""
        self.retire()
        if not self._running:
            self._kill()  # it may still be importing
        await asyncio.gather(*(process.stop() for process in list(self._running.values())))
        await self.ended

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def _hear(self) -> None:
        lines = os.read(self._beats, 1 << 16)
        if not lines:
            asyncio.get_running_loop().remove_reader(self._beats)
        for pid in {int(line) for line in lines.split()}:
            if pid in self._running:
                self._running[pid].hear()

    async def _follow(self) -> int:
        """Its exit code."""
        assert self._process.stdout
        async for line in self._process.stdout:
            what, pid, *code = line.split()
            if what == b"forked":
                self._running[int(pid)] = process = ApiProcess(int(pid))
                self._forked.put_nowait(process)
            else:
                self._running.pop(int(pid)).exited.set_result(int(code[0]))
        ended = await self._process.wait()
        for process in self._running.values():
            process.exited.set_result(ended)
        self._running.clear()
        self._forked.put_nowait(None)
        asyncio.get_running_loop().remove_reader(self._beats)
        os.close(self._beats)
        return ended


def ignore_signals() -> None:
    """They are for the others of the process group: a template ends after what it has forked, or with this process."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    die_with_parent(signal.SIGKILL)
