"""The API processes of `duoscene serve`: they share one listening socket, are started again when they die or hang, and are
replaced one by one on SIGHUP. A new one can serve before an old one is told to drain, so no connection is refused."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time

from app.errors import BadSettings
from app.processes import describe_exit, die_with_parent

STOP_SECONDS = 20.0  # draining, then closing; SIGKILL after that
READY_SECONDS = 150.0  # a replacement gives up by itself before
SILENT_BEATS = 30  # seconds without a turn of its event loop: the process hangs
START_BEATS = 180  # seconds to its first sign of life
FIRST_DELAY_SECONDS, MAX_DELAY_SECONDS = 1.0, 30.0
STEADY_SECONDS = 60.0  # after so long a life the delays begin anew
log = logging.getLogger(__name__)


class ApiProcess:
    """From `start` to its exit. listens: set with its first sign of life."""

    def __init__(self, process: asyncio.subprocess.Process, alive: int) -> None:
        self._process = process
        self._alive = alive
        self._silent_beats = 0
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(alive, self._hear)
        self.listens = asyncio.Event()
        self.started_at = time.monotonic()
        self.pid = process.pid
        self.exited = asyncio.create_task(self._wait())

    @classmethod
    async def start(cls, listener: socket.socket, *, when_ready: bool = False) -> ApiProcess:
        ours, theirs = os.pipe()
        os.set_blocking(theirs, False)
        options = ["--alive", str(theirs), *(["--when-ready"] if when_ready else [])]
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "app.api_process", str(listener.fileno()), *options,
                stdin=asyncio.subprocess.DEVNULL, pass_fds=[listener.fileno(), theirs], preexec_fn=die_with_parent,
            )  # fmt: skip
        finally:
            os.close(theirs)
        return cls(process, ours)

    def _hear(self) -> None:
        if os.read(self._alive, 4096):
            self._silent_beats = 0
            if not self.listens.is_set():
                log.info("API process %d listens", self.pid)
            self.listens.set()
        else:
            self._loop.remove_reader(self._alive)

    async def _wait(self) -> int:
        code = await self._process.wait()
        self._loop.remove_reader(self._alive)
        os.close(self._alive)
        return code

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
        await asyncio.wait([listening, self.exited], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
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
                self._process.send_signal(number)


class ApiProcesses:
    """num_processes on one listening socket, until `run` is told to end."""

    def __init__(self, listener: socket.socket, num_processes: int) -> None:
        self._listener = listener
        self._num_processes = num_processes
        self._places: list[ApiProcess] = []
        self._leaving: ApiProcess | None = None  # replaced, and draining
        self._restart_wanted = asyncio.Event()
        self._over = asyncio.Event()

    async def run(self) -> None:
        """Until SIGTERM or SIGINT. Raises BadSettings when a first process ends before it listens: it would do so again."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._over.set)
        loop.add_signal_handler(signal.SIGHUP, self._restart_wanted.set)
        self._places = [await ApiProcess.start(self._listener) for _ in range(self._num_processes)]
        work = [self._keep(place) for place in range(self._num_processes)]
        tasks = [asyncio.create_task(part) for part in (*work, self._restart_when_wanted(), self._look_for_hung())]
        ending = asyncio.create_task(self._over.wait())
        try:
            await asyncio.wait([ending, *tasks], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            self._listener.close()  # or callers would wait in its queue for nobody
            leaving = [self._leaving] if self._leaving else []
            await asyncio.gather(*(process.stop() for process in (*self._places, *leaving)))
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _keep(self, place: int) -> None:
        """Start what dies again, after growing delays."""
        delay, has_listened = FIRST_DELAY_SECONDS, False
        while True:
            process = self._places[place]
            code = await asyncio.shield(process.exited)
            if process is not self._places[place]:
                continue  # it was replaced
            has_listened |= process.listens.is_set()
            if not has_listened:
                raise BadSettings(f"an API process could not start ({describe_exit(code)}); its lines above say why")
            if time.monotonic() - process.started_at > STEADY_SECONDS:
                delay = FIRST_DELAY_SECONDS
            log.error("API process %d ended (%s); another starts in %.0f s", process.pid, describe_exit(code), delay)
            await asyncio.sleep(delay)
            delay = min(delay * 2, MAX_DELAY_SECONDS)
            self._places[place] = await ApiProcess.start(self._listener)

    async def _look_for_hung(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            for process in self._places:
                process.check()

    async def _restart_when_wanted(self) -> None:
        while True:
            await self._restart_wanted.wait()
            self._restart_wanted.clear()
            if await self._replace_all():
                log.warning("all %d API processes are new", self._num_processes)
            else:
                log.error("a new API process cannot serve; the others stay, its lines above say why")

    async def _replace_all(self) -> bool:
        """One after the other. False when a new one does not come to serve: then the rest goes on as it is."""
        for place in range(self._num_processes):
            new = await ApiProcess.start(self._listener, when_ready=True)
            try:
                if not await new.comes_to_listen(READY_SECONDS):
                    return False
                self._leaving, self._places[place] = self._places[place], new
                log.warning("API process %d replaces %d", new.pid, self._leaving.pid)
                await self._leaving.stop()
            finally:
                if new is not self._places[place]:
                    await new.stop()
        return True
