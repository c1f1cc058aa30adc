"""How far a job is: written by the training thread, read by the worker's heartbeat, drawn by whoever watches."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping

from app.errors import Cancelled
from app.learning.jobs import LOG_TAIL_LINES

MIN_PROGRESS_FOR_ETA = 0.03


class JobProgress:
    """The `Progress` of one job.

    stages: name -> share of the whole job, in the order they come; a stage that is not listed keeps the last progress.
    """

    def __init__(self, stages: Mapping[str, float]) -> None:
        self._lock = threading.Lock()
        self._stages = dict(stages)
        self._started = time.monotonic()
        self._log: deque[str] = deque(maxlen=LOG_TAIL_LINES)
        self._unseen: deque[str] = deque(maxlen=LOG_TAIL_LINES)
        self._stop = threading.Event()
        self.stage = "starting"
        self.fraction = 0.0

    def __call__(self, stage: str, done: float, note: str = "") -> None:
        if self._stop.is_set():
            raise Cancelled("the job was told to stop")
        with self._lock:
            self.stage = stage
            if stage in self._stages:
                self.fraction = max(self.fraction, self._whole(stage, min(max(done, 0.0), 1.0)))
            if note:
                self._log.append(f"{stage}: {note}")
                self._unseen.append(f"{stage}: {note}")

    def stop(self) -> None:
        """Make the next report of the training raise Cancelled."""
        self._stop.set()

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()

    def eta_seconds(self) -> float | None:
        """Time left if the rest goes on like the start; None while too little is done to tell."""
        if self.fraction < MIN_PROGRESS_FOR_ETA:
            return None
        return (time.monotonic() - self._started) * (1.0 - self.fraction) / self.fraction

    def take_log(self) -> list[str]:
        """The lines since the last call; the newest LOG_TAIL_LINES of them."""
        with self._lock:
            lines = list(self._log)
            self._log.clear()
        return lines

    def take_unseen(self) -> list[str]:
        """The same lines once more, for whoever draws them."""
        with self._lock:
            lines = list(self._unseen)
            self._unseen.clear()
        return lines

    def _whole(self, stage: str, done: float) -> float:
        total = sum(self._stages.values())
        before = 0.0
        for name, share in self._stages.items():
            if name == stage:
                break
            before += share
        return (before + self._stages[stage] * done) / total
