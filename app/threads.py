"""How many threads the numeric libraries of this process may use: torch, FAISS, BLAS and polars, decided in one place."""

from __future__ import annotations

import os

from threadpoolctl import threadpool_limits

VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")


def limit_threads(num_threads: int, *, default: int) -> None:
    """Call before torch, FAISS, scipy and polars are imported: they read these variables once. Child processes inherit them.

    num_threads: from the settings; 0 means `default`. A variable that is set already stays, so that a person can still treat
    one library differently.
    """
    number = num_threads or default
    for name in VARIABLES:
        os.environ.setdefault(name, str(number))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # a spinning thread of the trainer would take the API's core
    threadpool_limits(number)  # what is loaded already: numpy's BLAS


def all_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
