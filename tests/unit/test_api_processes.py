"""Who has a place among the API processes, when one dies and all are replaced at once."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from app import api_processes
from app.api_handles import ApiProcess, Template
from app.api_processes import ApiProcesses
from app.errors import BadSettings


class Sleepers:
    """A template whose processes sleep. held: forks wait until it is set."""

    all: list[ApiProcess] = []  # noqa: RUF012 - emptied by the fixture
    held: asyncio.Event

    def __init__(self) -> None:
        self.ended = asyncio.get_running_loop().create_future()

    @classmethod
    async def start(cls, _: socket.socket) -> Sleepers:
        return cls()

    async def fork(self, *, when_ready: bool = False) -> ApiProcess:
        if not when_ready:
            await self.held.wait()
        child = await asyncio.create_subprocess_exec("sleep", "60")
        process = ApiProcess(child.pid)
        process.listens.set()
        Sleepers.all.append(process)
        waiting = asyncio.create_task(child.wait())
        waiting.add_done_callback(lambda done: process.exited.set_result(done.result()))
        return process

    def retire(self) -> None: ...

    async def stop(self) -> None: ...

    @staticmethod
    def alive() -> list[int]:
        return [process.pid for process in Sleepers.all if not process.exited.done()]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as listener:
        yield listener


@pytest.fixture
async def processes(monkeypatch: pytest.MonkeyPatch, listener: socket.socket) -> AsyncIterator[ApiProcesses]:
    """One place, kept."""
    monkeypatch.setattr(api_processes, "Template", Sleepers)
    monkeypatch.setattr(api_processes, "FIRST_DELAY_SECONDS", 0.3)
    Sleepers.all, Sleepers.held = [], asyncio.Event()
    Sleepers.held.set()
    processes = ApiProcesses(listener, 1)
    keeping = asyncio.create_task(processes._keep(0))
    await until(lambda: len(Sleepers.alive()) == 1)
    yield processes
    keeping.cancel()
    for process in Sleepers.all:
        await process.stop()


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the condition was not met within 10 s")


async def kill_first() -> None:
    os.kill(Sleepers.all[0].pid, signal.SIGKILL)
    await until(lambda: not Sleepers.alive())


async def test_a_replacement_within_the_delay_of_a_restart_is_the_only_one(processes: ApiProcesses) -> None:
    await kill_first()
    assert await processes._replace_all()
    await asyncio.sleep(0.6)  # past the delay
    assert Sleepers.alive() == [processes._places[0].pid]


async def test_a_replacement_while_the_restart_forks_is_the_only_one(processes: ApiProcesses) -> None:
    Sleepers.held.clear()
    await kill_first()
    await asyncio.sleep(0.6)  # past the delay: the fork has begun
    assert await processes._replace_all()
    Sleepers.held.set()
    await until(lambda: len(Sleepers.all) == 3 and len(Sleepers.alive()) == 1)
    assert Sleepers.alive() == [processes._places[0].pid]


async def test_without_room_for_a_new_process_the_old_ones_stay(
    processes: ApiProcesses, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_room(*_: object, **__: object) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    before = Sleepers.alive()
    monkeypatch.setattr(api_processes, "Template", Template)
    with monkeypatch.context() as full:
        full.setattr(asyncio, "create_subprocess_exec", no_room)
        with pytest.raises(BadSettings, match="memory"):
            await Template.start(listener)
        assert await processes._replace_all() is False
    assert Sleepers.alive() == before
