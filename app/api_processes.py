"""The API processes of `duoscene serve`: they share one listening socket, are started again when they die or hang, and are
replaced one by one on SIGHUP. A new one can serve before an old one is told to drain, so no connection is refused."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time

from app.api_handles import ApiProcess, Template
from app.errors import BadSettings
from app.processes import describe_exit

READY_SECONDS = 150.0  # a replacement gives up by itself before
FIRST_DELAY_SECONDS, MAX_DELAY_SECONDS = 1.0, 30.0
STEADY_SECONDS = 60.0  # after so long a life the delays begin anew
log = logging.getLogger(__name__)


class ApiProcesses:
    """num_processes on one listening socket, until `run` is told to end."""

    def __init__(self, listener: socket.socket, num_processes: int) -> None:
        self._listener = listener
        self._num_processes = num_processes
        self._places: dict[int, ApiProcess] = {}
        self._template: Template | None = None  # the one that forks
        self._templates: list[Template] = []  # and those that only wait for what they have forked
        self._starting = asyncio.Lock()
        self._restart_wanted = asyncio.Event()
        self._over = asyncio.Event()

    async def run(self) -> None:
        """Until SIGTERM or SIGINT. Raises BadSettings when a first process ends before it listens: it would do so again."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._over.set)
        loop.add_signal_handler(signal.SIGHUP, self._restart_wanted.set)
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
            await asyncio.gather(*(template.stop() for template in self._templates))
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _keep(self, place: int) -> None:
        """One process, and another when it dies, after growing delays."""
        delay, has_listened = FIRST_DELAY_SECONDS, False
        self._places[place] = await self._fork()
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
            if process is not self._places[place]:
                continue
            try:
                new = await self._fork()
            except BadSettings as error:  # it is tried again after the next delay
                log.error("%s", error)
                continue
            if process is self._places[place]:
                self._places[place] = new
            else:
                await new.stop()

    async def _fork(self) -> ApiProcess:
        """Raises BadSettings."""
        async with self._starting:
            if self._template is None or self._template.ended.done():
                self._template = await self._start_template()
        return await self._template.fork()

    async def _start_template(self) -> Template:
        template = await Template.start(self._listener)
        self._templates = [*(known for known in self._templates if not known.ended.done()), template]
        return template

    async def _look_for_hung(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            for process in self._places.values():
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
        """One after the other, from a new template. False when a new one does not come to serve: then the rest goes on as it is."""
        try:
            template = await self._start_template()
        except BadSettings as error:
            log.error("%s", error)
            return False
        try:
            for place in list(self._places):
                new = await template.fork(when_ready=True)
                if not await new.comes_to_listen(READY_SECONDS):
                    await new.stop()
                    return False
                if self._template is not None and self._template is not template:
                    self._template.retire()
                self._template = template
                old, self._places[place] = self._places[place], new
                log.warning("API process %d replaces %d", new.pid, old.pid)
                await old.stop()
        except BadSettings:
            return False
        finally:
            if self._template is not template:
                await template.stop()
        return True
