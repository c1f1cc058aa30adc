"""The queue of one: exclusive creation, leases, cancelling, log tail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.errors import Conflict, NotFound
from app.learning.jobs import LOG_TAIL_LINES, Job
from app.stores.postgres.engine import begin
from app.stores.postgres.jobs import PostgresJobs


@pytest.fixture
def store(engine: AsyncEngine) -> PostgresJobs:
    return PostgresJobs(engine)


async def beat(store: PostgresJobs, job: Job, worker: str = "w1", log: list[str] | None = None) -> bool:
    return await store.heartbeat(job.job_id, worker, stage="train", progress=0.5, eta_seconds=9.0, log=log or [])


async def test_a_job_lives_from_queue_to_success(store: PostgresJobs) -> None:
    created = await store.create("full", reason="weekly", activation="never")
    assert (created.state, created.reason, created.activation, created.progress) == ("queued", "weekly", "never", 0.0)
    claimed = await store.claim("w1")
    assert claimed is not None
    assert (claimed.job_id, claimed.state) == (created.job_id, "running")
    assert claimed.started_at is not None
    assert await beat(store, claimed, log=["epoch 1"]) is True
    assert await beat(store, claimed) is True
    await store.finish(created.job_id, "w1", "succeeded", metrics={"ndcg": 0.5}, model_version="v1")
    found = await store.get(created.job_id)
    assert found is not None
    assert (found.state, found.progress, found.model_version, found.eta_seconds) == ("succeeded", 1.0, "v1", None)
    assert (found.metrics, found.log_tail, found.stage) == ({"ndcg": 0.5}, ("epoch 1",), "train")
    assert await beat(store, claimed) is False


async def test_one_of_many_concurrent_jobs_is_created_and_claimed_once(store: PostgresJobs) -> None:
    results = await asyncio.gather(*(store.create("full") for _ in range(8)), return_exceptions=True)
    created = [result for result in results if isinstance(result, Job)]
    refused = [result for result in results if isinstance(result, Conflict)]
    assert (len(created), len(refused)) == (1, 7)
    assert all(error.code == "job_running" and error.members["job_id"] == created[0].job_id for error in refused)
    claims = await asyncio.gather(*(store.claim(f"w{n}") for n in range(8)))
    assert sum(claim is not None for claim in claims) == 1


async def test_only_the_named_job_is_claimed(store: PostgresJobs) -> None:
    job = await store.create("full")
    assert await store.claim("w1", "another") is None
    assert await store.claim("w1", job.job_id) is not None


async def test_a_queued_job_is_cancelled_at_once_a_running_one_at_its_heartbeat(store: PostgresJobs) -> None:
    queued = await store.create("full")
    assert (await store.request_cancel(queued.job_id)).state == "cancelled"
    running = await store.create("incremental")
    await store.claim("w1")
    assert (await store.request_cancel(running.job_id)).state == "running"
    assert await beat(store, running) is False
    await store.finish(running.job_id, "w1", "cancelled")
    with pytest.raises(Conflict) as caught:
        await store.request_cancel(running.job_id)
    assert caught.value.code == "job_finished"
    with pytest.raises(NotFound):
        await store.request_cancel("none")
    assert [job.job_id for job in await store.list_jobs(after=None, limit=9)] == [running.job_id, queued.job_id]
    assert [job.job_id for job in await store.list_jobs(after=running.job_id, limit=9)] == [queued.job_id]


async def test_a_lost_worker_fails_its_job_and_makes_room(store: PostgresJobs, engine: AsyncEngine) -> None:
    lost = await store.create("full")
    await store.claim("w1")
    assert await store.fail_expired() == 0
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE jobs SET lease_until = now() - interval '1 second'"))
    assert (await store.create("full")).state == "queued"
    found = await store.get(lost.job_id)
    assert found is not None
    assert (found.state, found.error) == ("failed", "worker lost")
    assert await beat(store, lost) is False
    await store.finish(lost.job_id, "w1", "succeeded")
    again = await store.get(lost.job_id)
    assert again == found


async def test_a_job_that_ends_while_another_is_asked_for_makes_room(
    store: PostgresJobs, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the insert that it stood in the way of and the look for its name."""
    other, num_begun = await store.create("full"), 0

    @asynccontextmanager
    async def other_ends(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        nonlocal num_begun
        num_begun += 1
        if num_begun == 3:  # after a look for lost jobs and the insert
            async with begin(engine) as connection:
                await connection.execute(text("UPDATE jobs SET state = 'cancelled'"))
        async with begin(engine) as connection:
            yield connection

    monkeypatch.setattr("app.stores.postgres.jobs.begin", other_ends)
    created = await store.create("full")
    assert (created.state, created.job_id != other.job_id) == ("queued", True)


async def test_the_log_keeps_its_last_lines(store: PostgresJobs) -> None:
    job = await store.create("full")
    await store.claim("w1")
    for start in range(0, 150, 30):
        await beat(store, job, log=[f"line {n}" for n in range(start, start + 30)])
    await beat(store, job)
    found = await store.get(job.job_id)
    assert found is not None
    assert found.log_tail == tuple(f"line {n}" for n in range(150 - LOG_TAIL_LINES, 150))
