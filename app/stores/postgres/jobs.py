"""Retraining jobs: a queue of one, with leases."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, Text, and_, case, func, insert, literal, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from ulid import ULID

from app.errors import Conflict, NotFound
from app.learning.jobs import LEASE_SECONDS, LOG_TAIL_LINES, Activation, Job, JobMode, JobState
from app.stores.postgres.engine import begin
from app.stores.postgres.tables import jobs
from app.types import Json

NAMES = tuple(field.name for field in dataclasses.fields(Job))
COLUMNS = tuple(jobs.c[name] for name in NAMES)
MAX_TRIES = 3  # to queue a job: the one in its way may end just then
LEASE = timedelta(seconds=LEASE_SECONDS)
IS_OPEN = jobs.c.state.in_(("queued", "running"))


class PostgresJobs:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def create(self, mode: JobMode, *, reason: str | None = None, activation: Activation = "auto") -> Job:
        await self.fail_expired()
        values = {"job_id": str(ULID()), "mode": mode, "state": "queued", "reason": reason, "activation": activation}
        other = None
        for _ in range(MAX_TRIES):
            try:
                async with begin(self._engine) as connection:
                    return to_job((await connection.execute(insert(jobs).values(values).returning(*COLUMNS))).one())
            except IntegrityError:
                async with begin(self._engine) as connection:
                    other = (await connection.execute(select(jobs.c.job_id).where(IS_OPEN))).scalar_one_or_none()
            if other is not None:
                break
        raise Conflict(
            "a retraining job is queued or running already; wait for it or cancel it",
            code="job_running", members={"job_id": other},
        )  # fmt: skip

    async def claim(self, worker_id: str, job_id: str | None = None) -> Job | None:
        now = func.now()
        claimed = (
            update(jobs)
            .where(jobs.c.state == "queued", jobs.c.job_id == job_id if job_id is not None else literal(True))
            .values(state="running", worker_id=worker_id, started_at=now, lease_until=now + LEASE)
            .returning(*COLUMNS)
        )
        async with begin(self._engine) as connection:
            row = (await connection.execute(claimed)).one_or_none()
            return None if row is None else to_job(row)

    async def heartbeat(
        self, job_id: str, worker_id: str, *, stage: str, progress: float, eta_seconds: float | None, log: list[str]
    ) -> bool:
        tail = jobs.c.log_tail.op("||")(literal(log, ARRAY(Text)))
        lines = func.cardinality(tail)
        renewed = (
            update(jobs)
            .where(held_by(job_id, worker_id))
            .values(
                stage=stage, progress=progress, eta_seconds=eta_seconds, lease_until=func.now() + LEASE,
                log_tail=func.trim_array(tail, 0) if not log else last_lines(tail, lines),
            )
            .returning(jobs.c.cancel_requested)
        )  # fmt: skip
        async with begin(self._engine) as connection:
            cancel_requested = (await connection.execute(renewed)).scalar_one_or_none()
            return cancel_requested is False

    async def finish(
        self, job_id: str, worker_id: str, state: JobState, *, metrics: Mapping[str, Json] | None = None,
        model_version: str | None = None, error: str | None = None,
    ) -> None:  # fmt: skip
        """Does nothing when the lease was lost: the job has failed already."""
        done = (
            update(jobs)
            .where(held_by(job_id, worker_id))
            .values(
                state=state, metrics=dict(metrics or {}), model_version=model_version, error=error, eta_seconds=None,
                finished_at=func.now(), progress=case((literal(state == "succeeded"), 1.0), else_=jobs.c.progress),
            )
        )  # fmt: skip
        async with begin(self._engine) as connection:
            await connection.execute(done)

    async def request_cancel(self, job_id: str) -> Job:
        queued = jobs.c.state == "queued"
        cancelled = (
            update(jobs)
            .where(jobs.c.job_id == job_id, IS_OPEN)
            .values(
                state=case((queued, "cancelled"), else_=jobs.c.state),
                finished_at=case((queued, func.now()), else_=None),
                cancel_requested=True,
            )
            .returning(*COLUMNS)
        )
        async with begin(self._engine) as connection:
            row = (await connection.execute(cancelled)).one_or_none()
            if row is not None:
                return to_job(row)
            found = await read_job(connection, job_id)
        if found is None:
            raise NotFound(f"there is no job {job_id!r}", code="job_not_found")
        raise Conflict(f"job {job_id} is {found.state} already", code="job_finished")

    async def get(self, job_id: str) -> Job | None:
        async with begin(self._engine) as connection:
            return await read_job(connection, job_id)

    async def list_jobs(self, *, after: str | None, limit: int) -> list[Job]:
        query = select(*COLUMNS).order_by(jobs.c.job_id.desc()).limit(limit)
        if after is not None:
            query = query.where(jobs.c.job_id < after)
        async with begin(self._engine) as connection:
            return [to_job(row) for row in await connection.execute(query)]

    async def fail_expired(self) -> int:
        lost = (
            update(jobs)
            .where(jobs.c.state == "running", jobs.c.lease_until < func.now())
            .values(state="failed", error="worker lost", finished_at=func.now(), eta_seconds=None)
        )
        async with begin(self._engine) as connection:
            return (await connection.execute(lost)).rowcount


def held_by(job_id: str, worker_id: str) -> Any:
    return and_(jobs.c.job_id == job_id, jobs.c.worker_id == worker_id, jobs.c.state == "running")


def last_lines(tail: Any, lines: Any) -> Any:
    return tail[func.greatest(lines - LOG_TAIL_LINES + 1, 1) : lines]


async def read_job(connection: AsyncConnection, job_id: str) -> Job | None:
    row = (await connection.execute(select(*COLUMNS).where(jobs.c.job_id == job_id))).one_or_none()
    return None if row is None else to_job(row)


def to_job(row: Row[Any]) -> Job:
    values = {name: getattr(row, name) for name in NAMES}
    return Job(**values | {"log_tail": tuple(row.log_tail)})
