from __future__ import annotations

import json
import os
import subprocess
import sys

PROGRAM = """
import json, sys
from app.threads import limit_threads
limit_threads(int(sys.argv[1]), default=2)
import faiss, numpy, polars, torch
from threadpoolctl import threadpool_info
print(json.dumps({"torch": torch.get_num_threads(), "faiss": faiss.omp_get_max_threads(), "polars": polars.thread_pool_size(),
                  "pools": [pool["num_threads"] for pool in threadpool_info()]}))
"""


def threads_with(num_threads: int, **environment: str) -> dict[str, object]:
    own = {name: value for name, value in os.environ.items() if not name.endswith("_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(num_threads)],
        env=own | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_every_library_keeps_to_the_number() -> None:
    found = threads_with(1)
    assert found["torch"] == found["faiss"] == found["polars"] == 1
    assert found["pools"]
    assert set(found["pools"]) == {1}  # type: ignore[call-overload]


def test_zero_means_the_default_and_a_set_variable_stays() -> None:
    found = threads_with(0, POLARS_MAX_THREADS="3")
    assert found["torch"] == found["faiss"] == 2
    assert found["polars"] == 3
