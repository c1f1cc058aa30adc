"""The background worker: takes retraining jobs from the queue, keeps their lease while they run, records how they end.

The training itself is synchronous and runs in its own thread; the event loop beside it renews the lease, publishes
progress and learns of a cancellation. What a training does is none of the worker's business.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import secrets
import shutil
import socket
import tempfile
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from app.errors import Cancelled, DuosceneError, Unavailable
from app.learning.job_progress import JobProgress
from app.learning.jobs import HEARTBEAT_SECONDS, Job, JobState, JobStore
from app.release.version import ModelVersion, VersionStore
from app.types import Json, Progress

POLL_SECONDS = 1.0
ROOM_BYTES = 1 << 20
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
STOP_SECONDS = 4.0  # how long a stopping worker waits for its training thread
log = logging.getLogger(__name__)
T = TypeVar("T")


class RetrainOutcome(Protocol):
    """version: published already, not yet registered. activate: the gate, or the caller's wish, says it may go live."""

    @property
    def version(self) -> ModelVersion: ...

    @property
    def activate(self) -> bool: ...


Training = Callable[[Progress], RetrainOutcome]


@dataclass(frozen=True)
class WorkerDeps:
    """prepare: reads what a job needs from the stores and returns its training, to be called in a thread.

    stages: name -> share of a whole training's time, in order.
    """

    jobs: JobStore
    versions: VersionStore
    prepare: Callable[[Job], Awaitable[Training]]
    stages: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Ending:
    state: JobState
    model_version: str | None = None
    metrics: Mapping[str, Json] | None = None
    error: str | None = None


class Worker:
    def __init__(self, deps: WorkerDeps) -> None:
        self._deps = deps
        self._stopping = asyncio.Event()
        self.worker_id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"

    def stop(self) -> None:
        """Take no further job and fail the running one; `run_forever` returns within about STOP_SECONDS."""
        self._stopping.set()

    async def run_forever(self) -> None:
        """One job after the other. A database that cannot be reached is waited for."""
        log.info("worker %s waits for jobs", self.worker_id)
        while not self._stopping.is_set():
            try:
                if await self.run_one():
                    continue
            except Unavailable as error:
                log.warning("the job queue cannot be reached (%s); trying again", error.detail)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), POLL_SECONDS)

    async def run_one(
        self, job_id: str | None = None, on_progress: Callable[[JobProgress], None] | None = None
    ) -> bool:
        """Run the queued job (or only the named one) to its end. False if there was none to take.

        on_progress: called at every heartbeat and at the end.
        """
        await self._deps.jobs.fail_expired()
        job = await self._deps.jobs.claim(self.worker_id, job_id)
        if job is None:
            return False
        log.info("job %s: %s retraining starts", job.job_id, job.mode)
        progress = JobProgress(self._deps.stages)
        heart = asyncio.create_task(self._keep_lease(job, progress, on_progress))
        try:
            ending = await self._run(job, progress)
        finally:
            heart.cancel()
            await asyncio.gather(heart, return_exceptions=True)
        await self._finish(job, progress, ending)
        if on_progress:
            on_progress(progress)
        return True

    async def _run(self, job: Job, progress: JobProgress) -> Ending:
        work = asyncio.create_task(self._train(job, progress))
        stop = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not work.done():
            progress.stop()
            await asyncio.wait({work}, timeout=STOP_SECONDS)
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            if work.cancelled() or work.result().state == "cancelled":
                return Ending(
                    "failed",
                    error="the worker was stopped; start the retraining again, it goes on from its last checkpoint",
                )
        return work.result()

    async def _train(self, job: Job, progress: JobProgress) -> Ending:
        try:
            training = await self._deps.prepare(job)
            outcome = await in_daemon_thread(training, progress)
            return await self._release(job, progress, outcome)
        except Cancelled:
            return Ending("cancelled")
        except DuosceneError as error:
            log.exception("job %s failed", job.job_id)
            return Ending("failed", error=error.detail)
        except Exception as error:  # a loop edge: one job's fault must not end the worker
            log.exception("job %s failed", job.job_id)
            return Ending("failed", error=what_of(error, progress.stage, job.job_id))

    async def _release(self, job: Job, progress: JobProgress, outcome: RetrainOutcome) -> Ending:
        """Register the version and let it go live, unless the job was cancelled or lost its lease meanwhile."""
        await self._beat(job, progress)
        progress(progress.stage, 1.0)
        version = outcome.version
        await self._deps.versions.add(version)
        if outcome.activate:
            await self._deps.versions.activate(version.version, force=job.activation == "force")
        rejected = version.verdict == "rejected" and not outcome.activate
        return Ending("rejected_by_gate" if rejected else "succeeded", version.version, version.metrics)

    async def _keep_lease(
        self, job: Job, progress: JobProgress, on_progress: Callable[[JobProgress], None] | None
    ) -> None:
        while True:
            with contextlib.suppress(Unavailable):  # the lease outlives some missed beats
                await self._beat(job, progress)
            if on_progress:
                on_progress(progress)
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def _beat(self, job: Job, progress: JobProgress) -> None:
        goes_on = await self._deps.jobs.heartbeat(
            job.job_id, self.worker_id, stage=progress.stage, progress=progress.fraction,
            eta_seconds=progress.eta_seconds(), log=progress.take_log(),
        )  # fmt: skip
        if not goes_on:
            progress.stop()

    async def _finish(self, job: Job, progress: JobProgress, ending: Ending) -> None:
        """If the database is away now, the lease runs out and the job fails by itself."""
        log.info("job %s: %s%s", job.job_id, ending.state, f" ({ending.error})" if ending.error else "")
        with contextlib.suppress(Unavailable):
            await self._beat(job, progress)
        await self._deps.jobs.finish(
            job.job_id, self.worker_id, ending.state,
            metrics=ending.metrics, model_version=ending.model_version, error=ending.error,
        )  # fmt: skip


def what_of(error: Exception, stage: str, job_id: str) -> str:
    """For people, without a path. Not every library that meets a full disk passes its error on."""
    is_full = isinstance(error, OSError) and error.errno in NO_ROOM
    if is_full or shutil.disk_usage(tempfile.gettempdir()).free < ROOM_BYTES:
        return (
            f"no room on the disk in stage {stage!r}; free some and start the retraining again. The live model goes on"
        )
    return f"unexpected {type(error).__name__} in stage {stage!r}; the worker's log has the details of job {job_id}"


async def in_daemon_thread(work: Callable[[Progress], T], progress: Progress) -> T:
    """The result of `work`. A thread of its own, because one of a pool would hold up the exit of a stopped process."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def target() -> None:
        result, error = None, None
        try:
            result = work(progress)
        except BaseException as raised:  # noqa: BLE001 - handed over to the event loop
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=target, name="training", daemon=True).start()
    return await done
