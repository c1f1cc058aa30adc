"""What is too old goes, in bounded batches, by one worker at a time, and the live state follows."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.catalogue.item import User
from app.feedback.event import Event, Impression
from app.privacy import retention
from app.privacy.retention import retention_tasks
from app.privacy.upkeep import Upkeep
from app.stores.postgres.catalogue import PostgresCatalogue
from app.stores.postgres.engine import begin
from app.stores.postgres.events import PostgresEvents
from app.stores.postgres.impressions import PostgresImpressions
from app.stores.postgres.retention import LOCK, PostgresRetention
from app.stores.postgres.tables import events, impressions, unapplied_groups, users
from app.types import utc_now

NOW = utc_now()


async def fill(engine: AsyncEngine) -> None:
    """Ten events and impressions, 0 to 9 days old; `old` is known from old ones alone, `kept` has a description."""
    await PostgresCatalogue(engine).upsert_users([User("kept", "I fish")])
    whose = ("new", "new", "new", "new", "new", "old", "old", "old", "kept", "new")
    await PostgresEvents(engine).append(
        [Event(f"e{n}", "click", "i", NOW - timedelta(days=n, minutes=1), user_id=whose[n], session_id=f"s{n}") for n in range(10)]
    )  # fmt: skip
    await PostgresImpressions(engine).write(
        [Impression(f"r{n}", "home", "v", NOW - timedelta(days=n, minutes=1), ("i",), (1.0,), (1.0,)) for n in range(10)]
    )  # fmt: skip


async def ids(engine: AsyncEngine) -> tuple[set[str], set[str], set[str]]:
    async with begin(engine) as connection:
        columns = events.c.event_id, impressions.c.recommendation_id, users.c.user_id
        held = [set((await connection.execute(select(column))).scalars()) for column in columns]
    return held[0], held[1], held[2]


async def test_what_is_older_goes_and_the_rest_stays(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(retention, "BATCH_ROWS", 2)
    await fill(engine)
    upkeep = Upkeep(retention_tasks(PostgresRetention(engine), 5, 7))
    with caplog.at_level(logging.INFO):
        done = await upkeep.run_once()
    assert list(done.values()) == [5, 3]
    assert await ids(engine) == (
        {f"e{n}" for n in range(5)}, {f"r{n}" for n in range(7)}, {"new", "kept"},
    )  # fmt: skip
    assert "5 events older than 5 days were deleted" in caplog.text
    assert "3 impressions older than 7 days were deleted" in caplog.text
    async with begin(engine) as connection:  # whoever repairs drops the states of these
        groups = (await connection.execute(select(unapplied_groups).where(unapplied_groups.c.users != []))).all()
        everybody = {name for group in groups for name in group.users}
        assert everybody == {"new", "old", "kept"}
        assert {name for group in groups for name in group.sessions} == {f"s{n}" for n in range(5, 10)}
    assert set((await upkeep.run_once()).values()) == {0}


async def test_by_default_everything_is_kept(engine: AsyncEngine) -> None:
    assert retention_tasks(PostgresRetention(engine), 0, 0) == []


async def test_one_worker_at_a_time(engine: AsyncEngine) -> None:
    await fill(engine)
    upkeep = Upkeep(retention_tasks(PostgresRetention(engine), 5, 0))
    async with begin(engine) as connection:
        await connection.execute(select(func.pg_advisory_xact_lock(LOCK)))
        assert set((await upkeep.run_once()).values()) == {0}
    assert set((await upkeep.run_once()).values()) == {5}


async def test_a_task_that_fails_stops_neither_the_others_nor_the_loop(engine: AsyncEngine) -> None:
    await fill(engine)
    tasks = retention_tasks(PostgresRetention(engine), 5, 7)
    async with begin(engine) as connection:
        await connection.execute(text("ALTER TABLE events RENAME TO events_away"))
    assert list((await Upkeep(tasks).run_once()).values()) == [0, 3]
