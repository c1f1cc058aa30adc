"""States in Redis stay short, lose no change while they are packed anew, and those of another release count as none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import redis
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from app.catalogue.item import User
from app.feedback.event import Event, Impression
from app.feedback.state import MAX_HISTORY, UserState
from app.stores.postgres.catalogue import PostgresCatalogue
from app.stores.postgres.events import PostgresEvents
from app.stores.postgres.impressions import PostgresImpressions
from app.stores.postgres.revisions import PostgresRevisions
from app.stores.postgres.subjects import PostgresSubjects
from app.stores.redis import scripts
from app.stores.redis.changes import MOST_BYTES
from app.stores.redis.live_state import RedisLiveState
from app.stores.redis.packing import LONG_BYTES, is_long
from app.types import utc_now

START = utc_now() - timedelta(hours=2)
STATE, GENERATION, MARK = "duoscene:u2:u1", "duoscene:ug:u1", "duoscene:valid:2"
BEFORE = {
    "um": "-",
    "uh": {'["e0","tea","click",1.0]': 1.0},
    "up": {"tea": 1.0},
    "us": {"tea": 1.0},
    "ud": {"tea": 1.0},
}


class Shop:
    def __init__(self, engine: AsyncEngine, redis_url: str) -> None:
        self.events = PostgresEvents(engine)
        self.slates = PostgresImpressions(engine)
        self.redis: Redis = Redis.from_url(redis_url)
        self.live = RedisLiveState(
            redis_url, events=self.events, subjects=PostgresSubjects(engine), revisions=PostgresRevisions(engine)
        )

    async def click(self, *event_ids: str) -> None:
        events = [Event(i, "click", f"i-{i}", START + timedelta(seconds=n), "u1") for n, i in enumerate(event_ids)]
        await self.events.append(events)
        await self.live.apply(events)

    async def show(self, n: int) -> None:
        items = tuple(f"item-{n}-{place}" for place in range(10))
        ones = (1.0,) * len(items)
        slate = Impression(f"r{n}", "home", "m", utc_now(), items, ones, ones, user_id="u1")
        await self.slates.write([slate])
        await self.live.shown([slate])

    async def kept(self) -> bytes:
        """The state, once it is kept."""
        while (held := await self.redis.get(STATE)) is None:
            await self.live.read("u1", None)
        return bytes(held)

    async def rebuilt(self) -> UserState:
        await self.live.forget(user_id="u1")
        return await self.live.read("u1", None)


@pytest.fixture
async def shop(engine: AsyncEngine, redis_url: str) -> AsyncIterator[Shop]:
    shop = Shop(engine, redis_url)
    await shop.live.start()
    yield shop
    await shop.live.close()
    await shop.redis.aclose()


async def test_a_reader_packs_many_changes_anew_and_the_hour_is_not_prolonged(shop: Shop) -> None:
    await shop.click("a", "b")
    await shop.kept()
    await shop.redis.expire(STATE, 1_000)
    n = 0
    while not is_long(await shop.kept()):
        await shop.show(n)
        n += 1
    await shop.click("c")
    before = await shop.live.read("u1", None)
    while is_long(await shop.kept()):  # noqa: ASYNC110 - a reader asked for it and does not wait
        await asyncio.sleep(0.01)
    after = await shop.live.read("u1", None)
    assert after.history == before.history
    assert after.seen == pytest.approx(before.seen, rel=1e-3)
    assert len(after.seen) == 10 * n
    assert 0 < await shop.redis.ttl(STATE) <= 1_000
    rebuilt = await shop.rebuilt()
    assert (rebuilt.history, rebuilt.purchased) == (after.history, after.purchased)
    assert rebuilt.seen == pytest.approx(after.seen, rel=1e-3)


async def test_what_comes_while_a_state_is_packed_anew_stays(shop: Shop) -> None:
    await shop.click("a")
    read = await shop.kept()
    await shop.click("a", "b")
    assert await shop.redis.eval(scripts.REPACK, 1, STATE, read, read + b"") == 1
    assert [entry.event_id for entry in (await shop.live.read("u1", None)).history] == ["a", "b"]
    await shop.live.forget(user_id="u1")
    other = await shop.kept()
    assert other != read
    assert await shop.redis.eval(scripts.REPACK, 1, STATE, read, b"stale") == 0
    assert await shop.redis.get(STATE) == other


async def test_a_state_that_nobody_reads_is_dropped_before_it_grows(shop: Shop) -> None:
    await shop.click("first")
    unread = len(await shop.kept())
    lengths = [unread]
    while lengths[-1]:
        await shop.click(*(f"e{len(lengths)}-{n}" for n in range(10)))
        lengths.append(await shop.redis.strlen(STATE))
    assert unread + LONG_BYTES < max(lengths) <= unread + MOST_BYTES
    assert await shop.redis.exists(GENERATION)
    assert len((await shop.live.read("u1", None)).history) == MAX_HISTORY


async def test_two_who_build_at_once_keep_the_first_state_and_what_came_to_it(shop: Shop) -> None:
    await shop.click("a")
    first = await shop.kept()
    await shop.click("b")
    seen = await shop.redis.mget(GENERATION, MARK)
    await shop.redis.eval(scripts.STORE, 3, STATE, GENERATION, MARK, *seen, 60, first)
    assert [entry.event_id for entry in (await shop.live.read("u1", None)).history] == ["a", "b"]


async def test_states_of_another_layout_are_dropped_and_none_is_believed(engine: AsyncEngine, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        for part, held in BEFORE.items():
            for kind in "us":
                key = f"duoscene:{kind}{part[1]}:u1"
                client.set(key, held) if isinstance(held, str) else client.zadd(key, held)
        client.set("duoscene:valid", client.info("server")["run_id"])
        client.zadd("duoscene:sb:s1", {'["e2","tea","click",1.0]': 1.0})  # what waits for Postgres is no state
    shop = Shop(engine, redis_url)
    await shop.events.append([Event("e1", "click", "milk", START, "u1")])
    await PostgresCatalogue(engine).upsert_users([User("u1", age=41, created_at=START)])
    await shop.live.start()
    await shop.kept()
    for _ in ("kept", "again"):
        state = await shop.live.read("u1", None)
        assert [entry.event_id for entry in state.history] == ["e1"]
        assert (state.purchased, state.dismissed, state.profile) == ({}, {}, User("u1", age=41, created_at=START))
    assert {key.decode() async for key in shop.redis.scan_iter("*:u1")} == {STATE}
    assert [entry.event_id for entry in (await shop.live.read(None, "s1")).history] == ["e2"]
    await shop.live.close()
    await shop.redis.aclose()
