"""Load by wrk: as many requests as a number of connections gives, or a rate; every reply is checked.

Latencies are from the moment a request is sent. wrk corrects them for requests that a slow answer held up (coordinated omission).
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import NamedTuple

import orjson

from app.benchmarks.cores import pinned_to
from app.errors import BadSettings, DuosceneError

PATIENCE_SECONDS = 30
NEW_ID = "NEW-ID"  # in a path: another text in every request


class Call(NamedTuple):
    method: str
    path: str
    body: str = ""


@dataclass(frozen=True, slots=True)
class Expected:
    """texts: each must stand in every body. wished: replies without it are counted, and no error."""

    status: int = 200
    texts: tuple[str, ...] = ()
    wished: str = ""


@dataclass(frozen=True, slots=True)
class Load:
    """bad: replies with another status or body than expected. lacking: good ones without what was wished for. unanswered: requests without a reply. example: the first bad one."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    bad: int
    lacking: int
    unanswered: int
    example: str

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


def find_wrk() -> str:
    """Raises BadSettings where it is not installed."""
    found = shutil.which("wrk")
    if found is None:
        raise BadSettings("the load comes from wrk, which is not installed here: `apt-get install wrk`")
    return found


def run_wrk(
    url: str, calls: Sequence[Call], expected: Expected, *, connections: int, seconds: float, core: int,
    rate: float = 0.0, headers: Mapping[str, str] | None = None, strict: bool = True,
    meanwhile: Callable[[], object] = lambda: None,
) -> Load:  # fmt: skip
    """calls: sent in turn, again and again. rate: requests a second; 0: as many as possible. strict: a bad reply is an error. meanwhile: called when the load begins.

    Raises DuosceneError.
    """
    with (
        tempfile.NamedTemporaryFile("w", suffix=".tsv") as given,
        as_file(files("app.benchmarks") / "load.lua") as script,
    ):
        given.writelines(f"{call.method}\t{call.path}\t{call.body}\n" for call in calls)
        given.flush()
        meanwhile()
        with pinned_to(core):
            load = _run(
                [find_wrk(), "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", f"{PATIENCE_SECONDS}s",
                 "-s", str(script), *(part for name, value in (headers or {}).items() for part in ("-H", f"{name}: {value}")),
                 url, "--", given.name, str(expected.status), repr(rate), expected.wished, *expected.texts],
            )  # fmt: skip
    if strict and (load.bad or load.unanswered or not load.requests):
        what = f"{load.bad} unexpected replies and {load.unanswered} without an answer of {load.requests}"
        raise DuosceneError(f"the load on {calls[0].path} got {what}; the first: {load.example or 'none'}")
    return load


def _run(command: Sequence[str | Path]) -> Load:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        if line.startswith("result "):
            return Load(**orjson.loads(line.removeprefix("result ")))
    raise DuosceneError(f"wrk said nothing: {(done.stderr or done.stdout).strip()[-300:]}")
