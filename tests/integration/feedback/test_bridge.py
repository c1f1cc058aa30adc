"""While Postgres is away, events wait in Redis: durable, in order, once, bounded, and seen by their shopper."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.catalogue.item import User
from app.embedded.redis import Redis, start_redis
from app.errors import Invalid, Unavailable
from app.feedback import durable
from app.feedback.event import Event
from app.feedback.intake import FeedbackIntake
from app.feedback.merging import Guest, Merger
from app.stores.postgres.catalogue import PostgresCatalogue
from app.stores.postgres.engine import create_engine
from app.stores.postgres.events import PostgresEvents
from app.stores.postgres.merging import PostgresMerges
from app.stores.postgres.revisions import PostgresRevisions
from app.stores.postgres.subjects import PostgresSubjects
from app.stores.postgres.tables import events, unapplied_groups
from app.stores.redis import bridge, repair
from app.stores.redis.bridge import RedisBridge
from app.stores.redis.consistency import compare
from app.stores.redis.live_state import RedisLiveState
from app.types import utc_now
from tests.integration.feedback.test_intake import allow_connections

START = utc_now() - timedelta(hours=2)


def click(event_id: str, minute: float = 0, **more: object) -> Event:
    values: dict[str, object] = {
        "type": "click",
        "item_id": f"i-{event_id}",
        "user_id": "u1",
        "scenario": "home",
    } | more
    return Event(event_id=event_id, occurred_at=START + timedelta(minutes=minute), **values)  # type: ignore[arg-type]


@dataclass
class Site:
    """One API process's way of an event, over one database and one Redis. `leave` and `come_back` are Postgres's."""

    database_url: str
    engine: AsyncEngine
    store: PostgresEvents
    live: RedisLiveState
    bridge: RedisBridge
    intake: FeedbackIntake

    async def leave(self) -> None:
        await allow_connections(self.database_url, False)

    async def come_back(self) -> None:
        await allow_connections(self.database_url, True)
        await until(self.is_drained)

    async def is_drained(self) -> bool:
        return not await self.bridge.length() and not self.intake._durable._is_bridged

    async def stored(self) -> list[str]:
        """In the order they were written."""
        async with self.engine.connect() as connection:
            return list((await connection.execute(select(events.c.event_id).order_by(events.c.seq))).scalars())

    async def ids(self, user_id: str = "u1") -> list[str]:
        return [entry.event_id for entry in (await self.live.read(user_id, None)).history]


@asynccontextmanager
async def open_site(database_url: str, redis_url: str, max_events: int = 1_000) -> AsyncIterator[Site]:
    engine = create_engine(database_url)
    store = PostgresEvents(engine)
    live = RedisLiveState(
        redis_url, events=store, subjects=PostgresSubjects(engine), revisions=PostgresRevisions(engine)
    )
    bridge = RedisBridge(redis_url, max_events=max_events)
    intake = FeedbackIntake(store, live, bridge=bridge)
    await live.start()
    await intake.start()
    await until(lambda: is_believed(live))
    try:
        yield Site(database_url, engine, store, live, bridge, intake)
    finally:
        await intake.close()
        await bridge.close()
        await live.close()
        await engine.dispose()


async def is_believed(live: RedisLiveState) -> bool:
    return not (await live.read("probe", None)).degraded


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(1_000):
        if await condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the condition was not met within 20 s")


@pytest.fixture
async def site(database_url: str, redis_url: str) -> AsyncIterator[Site]:
    async with open_site(database_url, redis_url) as site:
        yield site


@pytest.fixture
def own_redis() -> Iterator[Redis]:
    folder = Path(tempfile.mkdtemp(prefix="duoscene-bridge-"))
    server = start_redis(folder)
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


async def test_events_wait_while_the_database_is_away_and_arrive_once_in_order(site: Site) -> None:
    assert await site.intake.submit([click("a")]) == {"a"}
    await site.leave()
    assert await site.intake.submit([click("b", 1), click("c", 2), click("b", 1)]) == {"b", "c"}
    assert await site.intake.submit([click("c", 2), click("d", 3, user_id="u2")]) == {"d"}
    assert await site.intake.submit([click("a")]) == {"a"}  # nobody can know now: it changes nothing when it arrives
    await site.come_back()
    assert await site.stored() == ["a", "b", "c", "d"]
    assert await site.intake.submit([click("d", 3, user_id="u2"), click("e", 4)]) == {"e"}
    assert await site.ids() == ["a", "b", "c", "e"]


async def test_a_shopper_sees_own_events_before_the_database_does(site: Site) -> None:
    await site.intake.submit([click("a")])
    assert await site.ids() == ["a"]
    await site.leave()
    await site.intake.submit([click("b", 1, type="purchase", item_id="tea")])
    await site.intake.submit([click("x", 1, user_id="stranger")])
    warm = await site.live.read("u1", None)
    assert ([entry.event_id for entry in warm.history], warm.degraded) == (["a", "b"], ())
    assert warm.purchased.keys() == {"tea"}
    cold = await site.live.read("stranger", None)
    assert ([entry.event_id for entry in cold.history], cold.degraded) == (["x"], ("user_state",))
    await site.come_back()
    assert await site.ids("stranger") == ["x"]
    await site.live.forget(user_id="u1")
    assert await site.live.read("u1", None) == warm


async def test_what_waits_survives_a_killed_redis(database_url: str, own_redis: Redis) -> None:
    async with open_site(database_url, own_redis.url) as site:
        await site.leave()
        assert await site.intake.submit([click("a"), click("b", 1)]) == {"a", "b"}
        os.kill(own_redis.pid, signal.SIGKILL)
        assert own_redis.process is not None
        own_redis.process.wait()
        with pytest.raises(Unavailable) as caught:  # neither can take it
            await site.intake.submit([click("lost")])
        assert caught.value.code == "store_unavailable"
        again = start_redis(own_redis.socket_path.parents[2])
        try:
            assert await site.intake.submit([click("c", 2)]) == {"c"}
            await site.come_back()
            assert await site.stored() == ["a", "b", "c"]
        finally:
            again.stop()


async def test_a_new_process_finds_what_a_killed_one_left(site: Site, redis_url: str) -> None:
    """The old process had brought the events to Postgres and died before it took them out of the bridge."""
    await site.leave()
    await site.intake.submit([click("a"), click("b", 1)])
    left = await site.bridge.oldest(10)
    await site.come_back()
    await site.bridge.append([event for _, event in left])
    async with open_site(site.database_url, redis_url) as second:
        await until(second.is_drained)
        assert await second.stored() == ["a", "b"]
        assert await second.ids() == ["a", "b"]


async def test_more_than_may_wait_is_refused(database_url: str, redis_url: str) -> None:
    async with open_site(database_url, redis_url, max_events=3) as site:
        await site.leave()
        assert await site.intake.submit([click("a"), click("b")]) == {"a", "b"}
        with pytest.raises(Unavailable) as caught:
            await site.intake.submit([click("c"), click("d")])
        assert (caught.value.code, await site.bridge.length()) == ("backlog_full", 2)
        assert await site.intake.submit([click("e")]) == {"e"}
        await site.come_back()
        assert await site.stored() == ["a", "b", "e"]


async def test_a_group_larger_than_what_may_wait_is_refused_caller_by_caller(database_url: str, redis_url: str) -> None:
    async with open_site(database_url, redis_url, max_events=3) as site:
        await site.leave()
        many = [click(f"m{n}") for n in range(5)]
        given = ([click("a")], many, [click("b"), click("c")])
        first, refused, last = await asyncio.gather(*map(site.intake.submit, given), return_exceptions=True)
        assert isinstance(refused, Unavailable)
        assert (first, refused.code, last) == ({"a"}, "backlog_full", {"b", "c"})
        await site.come_back()
        assert await site.stored() == ["a", "b", "c"]


@pytest.mark.parametrize(("name", "value"), [("appendfsync", "everysec"), ("appendonly", "no")])
async def test_a_redis_that_promises_nothing_is_not_used(
    database_url: str, own_redis: Redis, name: str, value: str
) -> None:
    with redis.Redis.from_url(own_redis.url) as client:
        client.config_set(name, value)
    async with open_site(database_url, own_redis.url) as site:
        await site.leave()
        with pytest.raises(Unavailable):
            await site.intake.submit([click("a")])
        assert await site.bridge.length() == 0


async def test_taking_back_waits_for_the_database(site: Site) -> None:
    await site.leave()
    await site.intake.submit([click("a"), click("b", 1)])
    taking_back = asyncio.create_task(site.intake.retract("a"))
    await site.come_back()
    assert await taking_back is True
    assert await site.ids() == ["b"]


async def test_a_merge_waits_for_what_the_guest_did_meanwhile(site: Site) -> None:
    await site.leave()
    await site.intake.submit([click("a", user_id=None, session_id="s1")])
    merger = Merger(PostgresMerges(site.engine), site.live, site.intake.settle)
    merging = asyncio.create_task(merger.merge(Guest(session_id="s1"), "u1"))
    await site.come_back()
    assert (await merging).events == 1
    assert await site.ids() == ["a"]


async def test_a_value_that_no_database_holds_is_refused_at_once_and_never_blocks_the_others(site: Site) -> None:
    await site.leave()
    with pytest.raises(Invalid):
        await site.intake.submit([click("nul", context={"k": ["\0"]})])
    assert await site.intake.submit([click("words", context={"k": "\\u0000"})]) == {"words"}
    poison = replace(click("poison"), currency="\ud800")  # got past every check
    await site.bridge.append([poison])
    await site.intake.submit([click("after", 1)])
    await site.come_back()
    assert await site.stored() == ["words", "after"]


async def test_a_fault_of_the_database_that_is_no_values_fault_costs_no_event(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(durable, "FAULT_SECONDS", 0.02)
    await execute(site.engine, "ALTER TABLE events RENAME TO elsewhere")
    await site.bridge.append([click("a"), click("b", 1)])

    async def has_failed() -> bool:
        return "could not be drained" in caplog.text

    await until(has_failed)
    assert await site.bridge.length() == 2
    await execute(site.engine, "ALTER TABLE elsewhere RENAME TO events")
    await until(site.is_drained)
    assert await site.stored() == ["a", "b"]


async def execute(engine: AsyncEngine, statement: str) -> None:
    async with engine.begin() as connection:
        await connection.execute(text(statement))


async def test_refused_events_are_not_dropped_without_a_word(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bridge, "MAX_REFUSED", 2)
    for name in "ab":
        await site.bridge.refuse(("0-1", click(name)), "why")
    assert "refused events" not in caplog.text
    await site.bridge.refuse(("0-1", click("c")), "why")
    assert "1 of the oldest refused events are gone" in caplog.text


async def test_what_died_between_the_stores_is_found_and_brought_to_the_live_state(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await site.intake.submit([click("a")])
    assert await site.ids() == ["a"]
    await site.store.append([click("b", 1)], group_id="of a process that died then")
    assert await site.ids() == ["a"]
    monkeypatch.setattr(repair, "LEFT_BEHIND", timedelta(0))
    site.live._repair._next_sweep = 0.0
    site.live._repair._wanted.set()

    async def is_live() -> bool:
        return await site.ids() == ["a", "b"]

    await until(is_live)

    async def is_settled() -> bool:
        async with site.engine.connect() as connection:
            return (await connection.execute(select(unapplied_groups.c.group_id))).first() is None

    await until(is_settled)


async def test_a_note_of_a_profile_goes_once_its_state_is_dropped(site: Site) -> None:
    catalogue = PostgresCatalogue(site.engine)

    async def notes() -> list[str]:
        async with site.engine.connect() as connection:
            return list((await connection.execute(select(unapplied_groups.c.group_id))).scalars())

    await catalogue.upsert_users([User("u1")], group_id="g1")
    assert await notes() == ["g1"]
    site.intake.confirm("g1")

    async def is_gone() -> bool:
        return not await notes()

    await until(is_gone)


async def test_trends_follow_what_is_taken_back(site: Site) -> None:
    await site.intake.submit([click("a", item_id="tea"), click("b", item_id="tea"), click("c", item_id="mug")])
    assert (await site.live._trends.held())["duoscene:t" + bucket_of(click("a"))] == {"tea": 2.0, "mug": 1.0}
    assert await site.intake.retract("a") is True
    assert await site.intake.retract("c") is True
    assert (await site.live._trends.held())["duoscene:t" + bucket_of(click("a"))] == {"tea": 1.0}
    counted = site.live._trends.count(await site.store.counts_by_hour(START - timedelta(hours=1)))
    assert await site.live._trends.held() == counted


def bucket_of(event: Event) -> str:
    return f"{int(event.occurred_at.timestamp() // 3600)}:={event.scenario}"


async def test_a_state_that_differs_is_found_and_repaired(site: Site, redis_url: str) -> None:
    await site.intake.submit([click("a", item_id="tea"), click("b", 1, user_id="u2")])
    assert (await site.ids(), await site.ids("u2")) == (["a"], ["b"])
    await until(lambda: is_equal(site))
    await site.store.append([click("past the intake", 2, item_id="mug")])
    found = await compare(site.live, repair=True)
    assert (found.wrong, found.num_wrong, found.trends) == (["user_id u1"], 1, 2)
    assert await site.ids() == ["a", "past the intake"]
    await until(lambda: is_equal(site))
    with redis.Redis.from_url(redis_url) as client:
        client.zincrby(f"duoscene:t{bucket_of(click('a'))}", 5, "nobody wanted this")
    assert (await compare(site.live, repair=False)).trends == 1


async def is_equal(site: Site) -> bool:
    return (await compare(site.live, repair=False)).is_equal
