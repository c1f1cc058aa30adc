"""The worker with the real job queue; only the training itself is a stand-in that does what each test is about."""

from __future__ import annotations

import asyncio
import resource
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.errors import BadData, Conflict
from app.learning.jobs import Job
from app.learning.worker import Training, Worker, WorkerDeps
from app.release.checked import CheckedVersions
from app.release.version import ModelVersion
from app.retrieval.manifest import Manifest
from app.stores.artifacts import LocalArtifacts
from app.stores.postgres.jobs import PostgresJobs
from app.stores.postgres.versions import PostgresVersions
from app.types import Progress, utc_now
from app.wiring.encoding import check_of

STAGES = {"train": 1.0}


@dataclass(frozen=True)
class Outcome:
    version: ModelVersion
    activate: bool = True


def make_version(name: str = "v1") -> ModelVersion:
    return ModelVersion(version=name, created_at=utc_now(), mode="full", metrics={"ndcg@10": 0.1}, verdict="passed")


class Bench:
    """A worker and its stores."""

    def __init__(self, engine: AsyncEngine, training: Training) -> None:
        self.engine = engine
        self.jobs = PostgresJobs(engine)
        self.versions = PostgresVersions(engine)

        async def prepare(job: Job) -> Training:
            return training

        self.worker = Worker(WorkerDeps(self.jobs, self.versions, prepare, STAGES))

    async def run(self) -> Job:
        job = await self.jobs.create("full")
        assert await self.worker.run_one()
        return await self.read(job.job_id)

    async def read(self, job_id: str) -> Job:
        job = await self.jobs.get(job_id)
        assert job is not None
        return job


class Endless:
    """A training that reports until it is told to stop."""

    def __init__(self) -> None:
        self.has_begun = threading.Event()
        self._pause = threading.Event()

    def __call__(self, progress: Progress) -> Outcome:
        while True:
            progress("train", 0.5, "still at it")
            self.has_begun.set()
            self._pause.wait(0.01)

    async def begun(self) -> None:
        assert await asyncio.to_thread(self.has_begun.wait, 10.0)


async def test_a_finished_training_goes_live_with_its_metrics(engine: AsyncEngine) -> None:
    def training(progress: Progress) -> Outcome:
        progress("train", 0.5, "epoch 1, loss 4.2")
        return Outcome(make_version())

    bench = Bench(engine, training)
    job = await bench.run()
    assert (job.state, job.model_version, job.progress) == ("succeeded", "v1", 1.0)
    assert job.metrics == {"ndcg@10": 0.1}
    assert job.log_tail == ("train: epoch 1, loss 4.2",)
    live = await bench.versions.live()
    assert live is not None
    assert live.version == "v1"


async def test_a_version_the_gate_rejected_is_kept_but_not_live(engine: AsyncEngine) -> None:
    version = replace(make_version(), verdict="rejected", gate_reason="worse in home")
    bench = Bench(engine, lambda progress: Outcome(version, activate=False))
    job = await bench.run()
    assert (job.state, job.model_version) == ("rejected_by_gate", "v1")
    assert await bench.versions.live() is None
    assert await bench.versions.get("v1") is not None


async def test_force_activates_what_the_gate_rejected(engine: AsyncEngine) -> None:
    version = replace(make_version(), verdict="rejected", gate_reason="worse in home")
    bench = Bench(engine, lambda progress: Outcome(version, activate=True))
    await bench.jobs.create("full", activation="force")
    assert await bench.worker.run_one()
    live = await bench.versions.live()
    assert live is not None
    assert live.version == "v1"


def raise_bad_data(progress: Progress) -> Outcome:
    raise BadData("only 3 events: at least 100 are needed")


def raise_bug(progress: Progress) -> Outcome:
    progress("train", 0.1)
    raise ZeroDivisionError("postgresql://user:secret@host/db")


@pytest.mark.parametrize(
    ("training", "words"),
    [
        (raise_bad_data, "only 3 events: at least 100 are needed"),
        (raise_bug, "unexpected ZeroDivisionError in stage 'train'"),
    ],
)
async def test_a_failed_training_says_why_and_the_next_one_runs(
    engine: AsyncEngine, training: Callable[[Progress], Outcome], words: str
) -> None:
    bench = Bench(engine, training)
    job = await bench.run()
    assert job.state == "failed"
    assert job.error is not None
    assert words in job.error
    assert "secret" not in job.error + "".join(job.log_tail)
    assert (await Bench(engine, lambda progress: Outcome(make_version())).run()).state == "succeeded"


async def test_cancel_stops_the_running_training_and_nothing_goes_live(engine: AsyncEngine) -> None:
    training = Endless()
    bench = Bench(engine, training)
    job = await bench.jobs.create("full")
    running = asyncio.create_task(bench.worker.run_one())
    await training.begun()
    await bench.jobs.request_cancel(job.job_id)
    assert await asyncio.wait_for(running, 10.0)
    assert (await bench.read(job.job_id)).state == "cancelled"
    assert await bench.versions.live() is None


async def test_a_cancel_that_comes_after_the_training_still_counts(engine: AsyncEngine) -> None:
    bench: Bench
    loop = asyncio.get_running_loop()

    def training(progress: Progress) -> Outcome:
        asyncio.run_coroutine_threadsafe(bench.jobs.request_cancel(job.job_id), loop).result(10.0)
        return Outcome(make_version())

    bench = Bench(engine, training)
    job = await bench.jobs.create("full")
    assert await bench.worker.run_one()
    assert (await bench.read(job.job_id)).state == "cancelled"
    assert await bench.versions.live() is None


async def test_a_stopped_worker_fails_its_job_at_once(engine: AsyncEngine) -> None:
    training = Endless()
    bench = Bench(engine, training)
    job = await bench.jobs.create("full")
    running = asyncio.create_task(bench.worker.run_forever())
    await training.begun()
    bench.worker.stop()
    await asyncio.wait_for(running, 3.0)
    ended = await bench.read(job.job_id)
    assert ended.state == "failed"
    assert ended.error == "the worker was stopped; start the retraining again, it goes on from its last checkpoint"


async def test_a_training_that_does_not_listen_is_left_behind(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.learning.worker.STOP_SECONDS", 0.2)
    begun, released = threading.Event(), threading.Event()

    def deaf(progress: Progress) -> Outcome:
        begun.set()
        released.wait(30.0)
        return Outcome(make_version())

    bench = Bench(engine, deaf)
    job = await bench.jobs.create("full")
    running = asyncio.create_task(bench.worker.run_one())
    assert await asyncio.to_thread(begun.wait, 10.0)
    bench.worker.stop()
    await asyncio.wait_for(running, 3.0)
    released.set()
    assert (await bench.read(job.job_id)).state == "failed"
    assert await bench.versions.live() is None


async def test_a_lost_lease_stops_the_training(engine: AsyncEngine) -> None:
    """Another process found the lease expired and failed the job: this worker must not put its model live."""
    training = Endless()
    bench = Bench(engine, training)
    job = await bench.jobs.create("full")
    running = asyncio.create_task(bench.worker.run_one())
    await training.begun()
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE jobs SET lease_until = now() - interval '1 second'"))
    assert await bench.jobs.fail_expired() == 1
    assert await asyncio.wait_for(running, 10.0)
    ended = await bench.read(job.job_id)
    assert (ended.state, ended.error) == ("failed", "worker lost")


async def test_two_workers_share_one_queue(engine: AsyncEngine) -> None:
    first, second = (Bench(engine, lambda progress: Outcome(make_version())) for _ in range(2))
    await first.jobs.create("full")
    assert sorted(await asyncio.gather(first.worker.run_one(), second.worker.run_one())) == [False, True]


async def test_no_job_is_no_work(engine: AsyncEngine) -> None:
    assert not await Bench(engine, lambda progress: Outcome(make_version())).worker.run_one()


async def test_a_full_disk_fails_the_job_in_plain_words_and_leaves_the_live_model(
    engine: AsyncEngine, tmp_path: Path
) -> None:
    """No file may grow beyond 64 KiB: the kernel refuses the artifact as it would on a full disk."""
    artifacts = LocalArtifacts(tmp_path / "models")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (scratch / "vectors.npy").write_bytes(b"\0" * 2**20)

    def training(progress: Progress) -> Outcome:
        progress("train", 1.0)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, hard))
        try:
            artifacts.publish(scratch, "v2")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        return Outcome(make_version("v2"))

    bench = Bench(engine, training)
    await bench.versions.add(make_version("v1"))
    await bench.versions.activate("v1")
    job = await bench.run()
    assert (job.state, job.error) == (
        "failed",
        "no room on the disk in stage 'train'; free some and start the retraining again. The live model goes on",
    )
    live = await bench.versions.live()
    assert live is not None
    assert live.version == "v1"
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.parametrize("fault", ["altered", "missing", "gone", "other version"])
async def test_a_version_whose_files_are_not_whole_never_goes_live(
    engine: AsyncEngine, tmp_path: Path, fault: str
) -> None:
    artifacts = LocalArtifacts(tmp_path)
    for name in ("v1", "v2"):
        place = artifacts.place(name)
        place.mkdir()
        (place / "towers.bin").write_bytes(name.encode())
        make_manifest(name).write(place)
    versions = CheckedVersions(PostgresVersions(engine), check_of(artifacts))
    for name in ("v1", "v2"):
        await versions.add(make_version(name))
    await versions.activate("v1")
    place = artifacts.place("v2")
    if fault == "altered":
        (place / "towers.bin").write_bytes(b"V2")
    elif fault == "missing":
        (place / "towers.bin").unlink()
    elif fault == "gone":
        shutil.rmtree(place)
    else:
        make_manifest("v3").write(place)
    with pytest.raises(Conflict) as caught:
        await versions.activate("v2", force=True)
    assert caught.value.code == "artifact_broken"
    live = await versions.live()
    assert live is not None
    assert live.version == "v1"


async def test_a_rollback_to_a_version_whose_files_are_not_whole_changes_nothing(
    engine: AsyncEngine, tmp_path: Path
) -> None:
    artifacts = LocalArtifacts(tmp_path)
    versions = CheckedVersions(PostgresVersions(engine), check_of(artifacts))
    for name in ("v1", "v2", "v3"):
        artifacts.place(name).mkdir()
        make_manifest(name).write(artifacts.place(name))
        await versions.add(make_version(name))
        await versions.activate(name)
    shutil.rmtree(artifacts.place("v1"))
    assert (await versions.rollback()).version == "v2"
    with pytest.raises(Conflict) as caught:
        await versions.rollback()
    assert caught.value.code == "artifact_broken"
    live = await versions.live()
    assert live is not None
    assert live.version == "v2"


def make_manifest(version: str) -> Manifest:
    return Manifest(version, "2026-01-31T12:00:00Z", "full", 1, "k", "e", 2, "1", {}, ("",), {}, {}, {})


async def test_a_worker_that_was_frozen_beyond_its_lease_releases_nothing(engine: AsyncEngine) -> None:
    """Its job has failed, and the next one has begun; when it wakes, what it made does not go live."""
    wakes = threading.Event()

    def training(progress: Progress) -> Outcome:
        assert wakes.wait(10.0)
        return Outcome(make_version("late"))

    bench = Bench(engine, training)
    job = await bench.jobs.create("full")
    running = asyncio.create_task(bench.worker.run_one())
    while (await bench.read(job.job_id)).state != "running":  # noqa: ASYNC110 - nothing announces it
        await asyncio.sleep(0.01)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE jobs SET lease_until = now() - interval '1 second'"))
    await bench.jobs.fail_expired()
    next_job = await bench.jobs.create("full")
    assert await bench.jobs.claim("another worker") is not None
    wakes.set()
    assert await running
    assert (await bench.read(job.job_id)).state == "failed"
    assert (await bench.read(next_job.job_id)).state == "running"
    assert await bench.versions.live() is None
