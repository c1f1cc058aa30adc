"""Which core does what: the API on its own ones, load and stores on another. Linux only."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from app.errors import BadSettings


@dataclass(frozen=True)
class Cores:
    """api: of the API processes. load: of wrk, PostgreSQL and Redis; one of `api` where the machine has no other."""

    api: tuple[int, ...]
    load: int

    @property
    def are_shared(self) -> bool:
        return self.load in self.api


def choose_cores(num_api: int = 1) -> Cores:
    """The first ones that this process may use. Raises BadSettings where processes cannot be pinned."""
    if not hasattr(os, "sched_getaffinity"):
        raise BadSettings("`duoscene bench serve` pins processes to cores and reads /proc: it runs on Linux only")
    able = sorted(os.sched_getaffinity(0))
    api = tuple(able[:num_api])
    return Cores(api, able[num_api] if len(able) > num_api else able[-1])


@contextlib.contextmanager
def pinned_to(*cores: int) -> Iterator[None]:
    """This thread, and the processes and threads it starts meanwhile."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
