"""A retraining job: its states, and the queue that workers take it from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from app.types import Json

JobState = Literal["queued", "running", "succeeded", "failed", "cancelled", "rejected_by_gate"]
JobMode = Literal["full", "incremental"]
Activation = Literal["auto", "never", "force"]
FINISHED: tuple[JobState, ...] = ("succeeded", "failed", "cancelled", "rejected_by_gate")
LEASE_SECONDS = 15.0  # a running job whose worker has not been heard of for so long has failed
HEARTBEAT_SECONDS = 2.0
LOG_TAIL_LINES = 100


@dataclass(frozen=True, slots=True)
class Job:
    job_id: str
    mode: JobMode
    state: JobState
    created_at: datetime
    reason: str | None = None
    activation: Activation = "auto"
    stage: str = ""
    progress: float = 0.0  # 0-1 of the whole job
    eta_seconds: float | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    model_version: str | None = None
    metrics: Mapping[str, Json] = field(default_factory=dict)
    error: str | None = None
    log_tail: tuple[str, ...] = ()


class JobStore(Protocol):
    """At most one job is queued or running at a time: a partial unique index holds it, not good manners."""

    async def create(self, mode: JobMode, *, reason: str | None = None, activation: Activation = "auto") -> Job:
        """Raises Conflict("job_running", members={"job_id": …}). Fails expired leases first."""

    async def claim(self, worker_id: str, job_id: str | None = None) -> Job | None:
        """Take the queued job (or only the named one) and start its lease."""

    async def heartbeat(
        self, job_id: str, worker_id: str, *, stage: str, progress: float, eta_seconds: float | None, log: list[str]
    ) -> bool:
        """Renew the lease and publish progress; `log` lines are appended to the tail.

        Returns False when the job should stop: cancelled, or the lease was lost.
        """

    async def finish(
        self, job_id: str, worker_id: str, state: JobState, *, metrics: Mapping[str, Json] | None = None,
        model_version: str | None = None, error: str | None = None,
    ) -> None: ...  # fmt: skip

    async def request_cancel(self, job_id: str) -> Job:
        """A queued job is cancelled at once, a running one at its next heartbeat. NotFound, Conflict("job_finished")."""

    async def get(self, job_id: str) -> Job | None: ...

    async def list_jobs(self, *, after: str | None, limit: int) -> list[Job]:
        """Newest first; `after` is a job id (ids are ULIDs, so they sort by time)."""

    async def fail_expired(self) -> int:
        """Running jobs with an expired lease become failed ("worker lost"). Returns how many."""
