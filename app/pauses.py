"""Long work of a thread beside requests: done in pieces, with a rest after each, so that neither the interpreter nor a core is ever away for long."""

from __future__ import annotations

import time
from collections.abc import Callable

Pause = Callable[[], None]  # called between two pieces
REST = 3.0  # times what a piece took of the processor


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
