"""Long work of a thread beside requests: done in pieces, with a rest after each, by a thread that leaves the core to others, so that neither
the interpreter nor a core is ever away for long."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple

Pause = Callable[[], None]  # called between two pieces
REST = 3.0  # times what a piece took of the processor
NICER = 5  # gives a quarter of a core that others want, too; with less, whoever waits for the interpreter waits long for this thread
Args = TypeVarTuple("Args")
Result = TypeVar("Result")


def no_pause() -> None:
    """For who keeps nobody waiting."""


def resting() -> Pause:
    """For one thread."""
    worked = time.thread_time()

    def rest() -> None:
        nonlocal worked
        time.sleep(REST * (time.thread_time() - worked))
        worked = time.thread_time()

    return rest


async def beside(work: Callable[[*Args], Result], *args: *Args) -> Result:
    """The work's result, from a thread of its own that stands back."""
    thread = ThreadPoolExecutor(1, thread_name_prefix="beside", initializer=_stand_back)
    try:
        return await asyncio.get_running_loop().run_in_executor(thread, work, *args)
    finally:
        thread.shutdown(wait=False)


def _stand_back() -> None:
    """Only on Linux does a thread have a priority of its own; where a sandbox forbids to change it, nothing is lost but that."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICER)
