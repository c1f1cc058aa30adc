"""Events are durable and live when `submit` returns; many callers share one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from sqlalchemy import event as sql_event
from sqlalchemy import func, select
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from app.errors import Invalid, Unavailable
from app.feedback.event import Event
from app.feedback.intake import FeedbackIntake
from app.stores.postgres.engine import create_engine
from app.stores.postgres.events import PostgresEvents
from app.stores.postgres.revisions import PostgresRevisions
from app.stores.postgres.subjects import PostgresSubjects
from app.stores.postgres.tables import events
from app.stores.redis.live_state import RedisLiveState

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def click(event_id: str, minute: int = 0, **more: object) -> Event:
    values: dict[str, object] = {"type": "click", "item_id": "i1", "user_id": "u1"} | more
    return Event(event_id=event_id, occurred_at=NOON + timedelta(minutes=minute), **values)  # type: ignore[arg-type]


def live_state(engine: AsyncEngine, redis_url: str) -> RedisLiveState:
    return RedisLiveState(
        redis_url,
        events=PostgresEvents(engine),
        subjects=PostgresSubjects(engine),
        revisions=PostgresRevisions(engine),
    )


@pytest.fixture
async def live(engine: AsyncEngine, redis_url: str) -> AsyncIterator[RedisLiveState]:
    live = live_state(engine, redis_url)
    await live.start()
    yield live
    await live.close()


@pytest.fixture
async def intake(engine: AsyncEngine, live: RedisLiveState) -> AsyncIterator[FeedbackIntake]:
    intake = FeedbackIntake(PostgresEvents(engine), live, max_pending=1_000)
    await intake.start()
    yield intake
    await intake.close()


async def stored(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return (await connection.execute(select(func.count()).select_from(events))).scalar_one()


async def test_many_callers_share_few_transactions(intake: FeedbackIntake, engine: AsyncEngine) -> None:
    commits = 0

    def count(_: object) -> None:
        nonlocal commits
        commits += 1

    sql_event.listen(engine.sync_engine, "commit", count)
    results = await asyncio.gather(*(intake.submit([click(f"e{n}", user_id=f"u{n}")]) for n in range(100)))
    sql_event.remove(engine.sync_engine, "commit", count)
    assert results == [{f"e{n}"} for n in range(100)]
    assert await stored(engine) == 100
    assert intake.groups_written <= 3
    assert commits <= 10
    assert intake.pending == 0


async def test_a_user_sees_own_events_at_once(intake: FeedbackIntake, live: RedisLiveState) -> None:
    for n in range(20):
        await intake.submit([click(f"e{n:02}", n)])
        state = await live.read("u1", None)
        assert [entry.event_id for entry in state.history] == [f"e{k:02}" for k in range(n + 1)]


async def test_of_equal_ids_in_one_group_the_first_is_new(intake: FeedbackIntake, engine: AsyncEngine) -> None:
    results = await asyncio.gather(
        intake.submit([click("a"), click("a")]), intake.submit([click("a"), click("b")]), intake.submit([click("b")])
    )
    assert results == [{"a"}, {"b"}, set()]
    assert await intake.submit([click("a"), click("b")]) == set()
    assert await stored(engine) == 2


async def test_a_bad_value_fails_only_its_own_caller(intake: FeedbackIntake, engine: AsyncEngine) -> None:
    results = await asyncio.gather(
        *(intake.submit([click(f"e{n}", context={"k": "\0"} if n == 7 else {})]) for n in range(20)),
        return_exceptions=True,
    )
    assert isinstance(results.pop(7), Invalid)
    assert all(isinstance(result, set) and len(result) == 1 for result in results)
    assert await stored(engine) == 19


async def test_a_retracted_event_leaves_the_live_state_and_stays_a_duplicate(
    intake: FeedbackIntake, live: RedisLiveState
) -> None:
    await intake.submit([click("a", type="purchase", item_id="tea", session_id="s1"), click("b", 1)])
    assert (await live.read("u1", "s1")).purchased.keys() == {"tea"}
    assert await intake.retract("a") is True
    state = await live.read("u1", "s1")
    assert [entry.event_id for entry in state.history] == ["b"]
    assert state.purchased == {}
    assert await intake.retract("a") is False
    assert await intake.retract("none") is False
    assert await intake.submit([click("a", type="purchase", item_id="tea")]) == set()
    assert [entry.event_id for entry in (await live.read("u1", "s1")).history] == ["b"]


async def test_a_retry_repairs_what_a_crash_left_between_the_stores(
    intake: FeedbackIntake, live: RedisLiveState, engine: AsyncEngine
) -> None:
    await intake.submit([click("a")])
    await live.read("u1", None)
    await PostgresEvents(engine).append([click("b", 1)])  # durable, but the process died before the live state knew
    assert await intake.submit([click("b", 1)]) == set()
    assert [entry.event_id for entry in (await live.read("u1", None)).history] == ["a", "b"]


async def test_what_a_broken_live_state_missed_stays_noted_with_what_follows(
    engine: AsyncEngine, redis_url: str
) -> None:
    class Broken(RedisLiveState):
        async def apply(self, events: Sequence[Event]) -> bool:
            if events[0].event_id == "a":
                raise RuntimeError("broken")
            return await super().apply(events)

    store = PostgresEvents(engine)
    live = Broken(redis_url, events=store, subjects=PostgresSubjects(engine), revisions=PostgresRevisions(engine))
    await live.start()
    intake = FeedbackIntake(store, live)
    await intake.start()
    assert await intake.submit([click("a")]) == {"a"}
    assert await intake.submit([click("b", 1)]) == {"b"}
    assert await intake.submit([click("c", 2)]) == {"c"}
    await intake.close()
    await live.close()
    (left,) = await store.unapplied(timedelta(0))
    assert left.last_seq == (left.first_seq or 0) + 1  # of a and b


async def test_more_than_may_wait_is_turned_away(intake: FeedbackIntake) -> None:
    first = asyncio.create_task(intake.submit([click(f"e{n}") for n in range(999)]))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable) as caught:
        await intake.submit([click("x"), click("y")])
    assert caught.value.code == "backlog_full"
    assert len(await first) == 999
    assert await intake.submit([click("x"), click("y")]) == {"x", "y"}


async def test_close_writes_what_waits_and_then_refuses(engine: AsyncEngine, live: RedisLiveState) -> None:
    intake = FeedbackIntake(PostgresEvents(engine), live)
    await intake.start()
    waiting = [asyncio.create_task(intake.submit([click(f"e{n}")])) for n in range(50)]
    await asyncio.sleep(0)
    await intake.close()
    assert [await task for task in waiting] == [{f"e{n}"} for n in range(50)]
    with pytest.raises(Unavailable):
        await intake.submit([click("late")])


async def test_a_caller_that_goes_away_takes_nothing_back(intake: FeedbackIntake, engine: AsyncEngine) -> None:
    leaving = asyncio.create_task(intake.submit([click("a")]))
    staying = asyncio.create_task(intake.submit([click("b")]))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == {"b"}
    assert await stored(engine) == 2


async def test_without_postgres_nothing_is_accepted_and_later_events_are(database_url: str, redis_url: str) -> None:
    """The database is taken away (no connections allowed, existing ones ended) and given back."""
    engine = create_engine(database_url)
    live = live_state(engine, redis_url)
    intake = FeedbackIntake(PostgresEvents(engine), live)
    await intake.start()
    assert await intake.submit([click("a")]) == {"a"}
    await allow_connections(database_url, False)
    results = await asyncio.gather(*(intake.submit([click(f"lost{n}")]) for n in range(5)), return_exceptions=True)
    assert [getattr(result, "code", None) for result in results] == ["store_unavailable"] * 5
    await allow_connections(database_url, True)
    assert await intake.submit([click("b")]) == {"b"}
    assert await stored(engine) == 2
    await intake.close()
    await live.close()
    await engine.dispose()


def name_and_server(database_url: str) -> tuple[str, str]:
    url = make_url(database_url)
    return str(url.database), url.set(database="postgres").render_as_string(hide_password=False)


async def allow_connections(database_url: str, allowed: bool) -> None:
    name, server = name_and_server(database_url)
    connection = await asyncpg.connect(server)
    await connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {allowed}')
    await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
    await connection.close()
