"""A running `duoscene up` and what a test does with it: read what it prints, call it over HTTP, kill its parts."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx

REPOSITORY = Path(__file__).resolve().parents[2]
START_SECONDS = 240.0
T = TypeVar("T")


class Up:
    """`duoscene up` as a process. Lines are kept, so that a failure can show them."""

    def __init__(self, data_dir: Path, *options: str, **environment: str) -> None:
        # A server of the test run's own settings must not be shared: every `up` here has embedded ones.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("DUOSCENE_")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "up", "--data-dir", str(data_dir), *options],
            cwd=REPOSITORY, env=inherited | environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.lines: list[str] = []
        self._arriving: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._arriving.put(line.rstrip("\n"))
        self._arriving.put(None)

    def line_with(self, words: str, seconds: float = START_SECONDS) -> str:
        """The next line that holds the words."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            try:
                line = self._arriving.get(timeout=left)
            except queue.Empty:
                break
            if line is None:
                raise AssertionError(f"`up` ended (code {self._process.wait()}) before {words!r}:\n{self.output()}")
            self.lines.append(line)
            if words in line:
                return line
        raise AssertionError(f"no {words!r} within {seconds:.0f} s:\n{self.output()}")

    def output(self) -> str:
        return "\n".join(self.lines)

    def wait(self, seconds: float = 30.0) -> int:
        code = self._process.wait(seconds)
        self._reader.join(5.0)
        while not self._arriving.empty() and (line := self._arriving.get()) is not None:
            self.lines.append(line)
        return code

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self._process.poll() is None:
            self._process.send_signal(number)
        return self.wait()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def child(self, command: str) -> int:
        """Process id of `duoscene COMMAND` that this `up` keeps running."""
        for path in Path(f"/proc/{self._process.pid}/task").glob("*/children"):
            for pid in path.read_text().split():
                arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if arguments[-2:-1] == [command.encode()]:
                    return int(pid)
        raise AssertionError(f"no child {command!r}")


class Shop:
    """The calls of a storefront and of its admin."""

    def __init__(self, address: str, key: str) -> None:
        self.address = address
        self.http = httpx.Client(
            base_url=address, headers={"Authorization": f"Bearer {key}"}, timeout=30.0, trust_env=False
        )

    def call(self, method: str, path: str, json: Any = None) -> Any:
        answer = self.http.request(method, path, json=json)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def recommend(self, **asked: Any) -> Any:
        return self.call("POST", "/v1/recommendations", {"scenario": "home", **asked})

    def items(self, **asked: Any) -> list[str]:
        return [item["item_id"] for item in self.recommend(**asked)["items"]]

    def send(self, type_: str, user_id: str, item_id: str, **more: Any) -> None:
        answer = self.call("POST", "/v1/feedback", {"type": type_, "user_id": user_id, "item_id": item_id, **more})
        assert answer["accepted"] == 1

    def live_version(self) -> str:
        version = self.recommend(n=1)["model_version"]
        assert isinstance(version, str)
        return version

    def retrain(self) -> str:
        job_id = self.call("POST", "/v1/admin/retrain", {"mode": "full"})["job_id"]
        assert isinstance(job_id, str)
        return job_id

    def job(self, job_id: str) -> Any:
        return self.call("GET", f"/v1/admin/jobs/{job_id}")

    def wait_for_job(self, job_id: str, *states: str, seconds: float = 180.0) -> Any:
        """Until the job is in one of the states, or has ended in another one."""
        wanted = (*states, "succeeded", "failed", "cancelled", "rejected_by_gate")
        return wait_for(lambda: job if (job := self.job(job_id))["state"] in wanted else None, seconds)


def wait_for(look: Callable[[], T | None], seconds: float, every: float = 0.1) -> T:
    """What `look` returns as soon as it is something. For what another process does, which nothing announces."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s"
        time.sleep(every)


class Load:
    """A steady load of requests from several threads; keeps every answer's status and model version."""

    def __init__(self, shop: Shop, users: list[str], num_threads: int = 2) -> None:
        self._shop = shop
        self._users = users
        self._over = threading.Event()
        self.statuses: list[int | str] = []
        self.versions: list[str] = []
        self.empty = 0
        self._threads = [threading.Thread(target=self._ask) for _ in range(num_threads)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        turn = 0
        while not self._over.wait(0.02):
            turn += 1
            body = {"scenario": "home", "user_id": self._users[turn % len(self._users)], "n": 10}
            try:
                answer = self._shop.http.post("/v1/recommendations", json=body)
            except httpx.HTTPError as error:
                self.statuses.append(type(error).__name__)
                continue
            self.statuses.append(answer.status_code)
            if answer.status_code == 200:
                self.versions.append(answer.json()["model_version"])
                self.empty += not answer.json()["items"]
