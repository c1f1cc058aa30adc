"""What a process keeps unpacked says what a process that reads for the first time says, and goes with the shopper."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.catalogue.item import User
from app.feedback.event import Event, Impression
from app.feedback.state import UserState
from app.stores.postgres.catalogue import PostgresCatalogue
from app.stores.postgres.events import PostgresEvents
from app.stores.postgres.impressions import PostgresImpressions
from app.stores.postgres.revisions import PostgresRevisions
from app.stores.postgres.subjects import PostgresSubjects
from app.stores.redis.live_state import RedisLiveState
from app.stores.redis.subject import Subject
from app.types import utc_now

NOW = utc_now()
ANNA, VISIT = Subject("u", "anna"), Subject("s", "visit")


class Shop:
    """reader: keeps what it unpacked; writer: another process."""

    def __init__(self, engine: AsyncEngine, redis_url: str) -> None:
        self._stores = engine, redis_url
        self.events, self.catalogue = PostgresEvents(engine), PostgresCatalogue(engine)
        self.slates = PostgresImpressions(engine)
        self.reader, self.writer = self.process(), self.process()

    def process(self) -> RedisLiveState:
        engine, redis_url = self._stores
        return RedisLiveState(
            redis_url, events=self.events, subjects=PostgresSubjects(engine), revisions=PostgresRevisions(engine), clock=lambda: NOW
        )  # fmt: skip

    async def act(self, *events: Event) -> None:
        await self.events.append(events)
        await self.writer.apply(events)

    async def show(self, name: str, *item_ids: str) -> None:
        ones = (1.0,) * len(item_ids)
        slate = Impression(name, "home", "m", NOW - timedelta(minutes=5), item_ids, ones, ones, "anna", "visit")
        await self.slates.write([slate])
        await self.writer.shown([slate])

    async def warm(self) -> UserState:
        """What the reader says, once it was read from Redis."""
        while ANNA not in self.reader._unpacked or VISIT not in self.reader._unpacked:
            await self.reader.read("anna", "visit")
            await asyncio.sleep(0.01)
        return await self.reader.read("anna", "visit")

    async def fresh(self) -> UserState:
        """What a process says that starts now."""
        other = self.process()
        await other.start()
        try:
            return await other.read("anna", "visit")
        finally:
            await other.close()


@pytest.fixture
async def shop(engine: AsyncEngine, redis_url: str) -> AsyncIterator[Shop]:
    shop = Shop(engine, redis_url)
    for live in (shop.reader, shop.writer):
        await live.start()
        await live.settle()
    await shop.catalogue.upsert_users([User("anna", "collects owls")])
    await shop.act(
        event("e1"), event("e2", type="purchase", item_id="owl"), event("e3", 5, type="dislike", item_id="cat")
    )
    await shop.show("r1", "owl", "cat", "dog")
    yield shop
    for live in (shop.reader, shop.writer):
        await live.close()


def event(event_id: str, minute: float = 0, **more: object) -> Event:
    values: dict[str, object] = {"type": "click", "item_id": f"i-{event_id}", "user_id": "anna"} | more
    return Event(event_id=event_id, occurred_at=NOW - timedelta(hours=2 - minute / 60), **values)  # type: ignore[arg-type]


async def test_what_is_read_again_is_what_a_fresh_process_reads(shop: Shop) -> None:
    before = await shop.warm()
    assert before.profile == User("anna", "collects owls", created_at=before.profile and before.profile.created_at)
    assert await shop.warm() == before == await shop.fresh()
    await shop.show("r2", "dog", "hen")
    await shop.act(event("e4", 20, type="like", item_id="cat"), event("e5", 10, session_id="visit", item_id="dog"))
    await shop.show("r3", "hen")
    after = await shop.warm()
    assert after == await shop.fresh()
    assert [entry.event_id for entry in after.history] == ["e1", "e2", "e3", "e5", "e4"]
    assert (after.purchased.keys(), after.dismissed) == ({"owl"}, {})
    assert after.seen["hen"] == pytest.approx(2.0, rel=0.01)
    assert (before.dismissed.keys(), "hen" in before.seen) == ({"cat"}, False)


async def test_what_another_process_drops_is_read_anew(shop: Shop) -> None:
    await shop.warm()
    await shop.catalogue.upsert_users([User("anna", "collects hens")])
    await shop.writer.forget(user_id="anna")
    profile = (await shop.warm()).profile
    assert (profile and profile.text) == "collects hens"


@pytest.mark.parametrize("how", ["forget", "forget_users", "forget_shoppers_of", "take_back", "erase", "everybody"])
async def test_nothing_stays_unpacked_of_whom_this_process_forgets(shop: Shop, how: str) -> None:
    await shop.warm()
    live = shop.reader
    forgets = {
        "forget": lambda: live.forget(user_id="anna"),
        "forget_users": lambda: live.forget_users(["anna"]),
        "forget_shoppers_of": lambda: live.forget_shoppers_of([event("e1")]),
        "take_back": lambda: live.take_back(event("e1")),
        "erase": lambda: live.erase("anna", ["visit"]),
        "everybody": live.forget_everybody,
    }
    reading = asyncio.create_task(live.read("anna", "visit"))
    await asyncio.sleep(0)  # it asks
    await asyncio.gather(reading, forgets[how]())
    assert ANNA not in live._unpacked
    if how in ("erase", "everybody"):
        assert VISIT not in live._unpacked


async def test_a_closed_process_holds_nobody(shop: Shop) -> None:
    await shop.warm()
    await shop.reader.close()
    assert len(shop.reader._unpacked) == 0
