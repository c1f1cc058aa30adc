"""States that Redis does not hold: built from Postgres together, one statement for all who wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from app.errors import Invalid, Unavailable
from app.feedback.event import Event
from app.feedback.state import Part, UserState, Whose
from app.stores.postgres.events import PostgresEvents
from app.stores.postgres.revisions import PostgresRevisions
from app.stores.postgres.subjects import PostgresSubjects
from app.stores.redis import building
from app.stores.redis.building import MAX_READS, MAX_SUBJECTS
from app.stores.redis.live_state import RedisLiveState
from app.stores.redis.subject import Subject

NOTHING = Part([], {}, {}, {}, None)
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


class Watched(PostgresSubjects):
    """Notes what it is asked for, and answers once `open` is set."""

    def __init__(self, engine: AsyncEngine) -> None:
        super().__init__(engine)
        self.asked: list[tuple[Whose, list[str]]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.fails = self.is_instant = False

    async def parts_of(self, whose: Whose, names: Sequence[str], now: datetime) -> list[Part | Unavailable]:
        self.asked.append((whose, list(names)))
        await self.open.wait()
        if self.is_instant:
            return [NOTHING] * len(names)
        if self.fails:
            raise Unavailable("the database cannot be reached")
        return await super().parts_of(whose, names, now)


@dataclass
class Shop:
    live: RedisLiveState
    store: Watched

    async def occupy(self) -> list[asyncio.Task[UserState]]:
        """Reads that keep all statements on their way until the store is open."""
        self.store.open.clear()
        reads = []
        for n in range(MAX_READS):
            reads += asks(self, f"first {n}")
            await eventually(lambda n=n: len(self.store.asked) == n + 1)  # type: ignore[misc]
        return reads


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.005)


@pytest.fixture
async def shop(engine: AsyncEngine, redis_url: str) -> AsyncIterator[Shop]:
    events, store = PostgresEvents(engine), Watched(engine)
    await events.append([
        Event(f"e{n}", "click", f"i{n}", NOON + timedelta(minutes=n), user_id=f"u{n % 40}", session_id=f"s{n % 40}")
        for n in range(80)
    ])  # fmt: skip
    live = RedisLiveState(redis_url, events=events, subjects=store, revisions=PostgresRevisions(engine))
    await live.start()
    while not await is_believed(live):  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    store.asked.clear()
    yield Shop(live, store)
    await live.close()


async def is_believed(live: RedisLiveState) -> bool:
    await live.settle()
    return not (await live.read("nobody", None)).degraded


def items_of(state: UserState) -> list[str]:
    return [entry.item_id for entry in state.history]


def asks(shop: Shop, *user_ids: str) -> list[asyncio.Task[UserState]]:
    return [asyncio.create_task(shop.live.read(user_id, None)) for user_id in user_ids]


async def test_a_crowd_of_strangers_shares_statements_and_each_gets_their_own(shop: Shop) -> None:
    first = await shop.occupy()
    reads = [asyncio.create_task(shop.live.read(f"u{n}", f"s{n}")) for n in range(40)]
    await asyncio.sleep(0.2)
    assert len(shop.store.asked) == MAX_READS  # they wait
    shop.store.open.set()
    await asyncio.gather(*first)
    for n, state in enumerate(await asyncio.gather(*reads)):
        assert items_of(state) == [f"i{n}", f"i{n + 40}"]
        assert not state.degraded
    asked = shop.store.asked[MAX_READS:]
    assert len(asked) == 80 / MAX_SUBJECTS
    assert all(len(names) == MAX_SUBJECTS for _, names in asked)
    assert all({name[0] for name in names} == {whose[0]} for whose, names in asked)
    shop.store.asked.clear()
    await asyncio.gather(*(shop.live.read(f"u{n}", f"s{n}") for n in range(40)))
    assert not shop.store.asked  # they are kept


async def test_slates_of_one_page_ask_once(shop: Shop) -> None:
    first = await shop.occupy()
    page = asks(shop, "u7", "u7", "u7")
    await asyncio.sleep(0.1)
    shop.store.open.set()
    await asyncio.gather(*first)
    assert [items_of(state) for state in await asyncio.gather(*page)] == [["i7", "i47"]] * 3
    assert sum(names.count("u7") for _, names in shop.store.asked) == 1


async def test_whoever_goes_away_holds_nobody_up(shop: Shop) -> None:
    first = await shop.occupy()
    gone, stays = asks(shop, "u5", "u6")
    await asyncio.sleep(0.1)
    gone.cancel()
    first[0].cancel()
    shop.store.open.set()
    assert items_of(await stays) == ["i6", "i46"]
    await asyncio.gather(*first[1:])
    assert items_of(await shop.live.read("u5", None)) == ["i5", "i45"]


async def test_a_name_that_cannot_be_asked_for_fails_nobody_else(shop: Shop) -> None:
    first = await shop.occupy()
    odd, even = asks(shop, "a\0b", "u6")
    await asyncio.sleep(0.1)
    shop.store.open.set()
    with pytest.raises(Invalid):
        await odd
    assert items_of(await even) == ["i6", "i46"]
    await asyncio.gather(*first)


async def test_a_database_that_goes_away_is_told_to_all_and_forgotten_when_it_is_back(shop: Shop) -> None:
    shop.store.fails = True
    states = await asyncio.gather(*asks(shop, *(f"u{n}" for n in range(20))))
    assert {state.degraded for state in states} == {("user_state",)}
    shop.store.fails = False
    states = await asyncio.gather(*asks(shop, *(f"u{n}" for n in range(20))))
    assert [items_of(state) for state in states] == [[f"i{n}", f"i{n + 40}"] for n in range(20)]


async def test_a_stranger_who_acts_while_being_read_is_not_kept_without_it(
    shop: Shop, engine: AsyncEngine, redis_url: str
) -> None:
    """Two readers share a build; between what each saw in Redis a writer came. What the earlier one saw must not let an old state be kept."""
    first = await shop.occupy()
    early = asks(shop, "u9")
    await asyncio.sleep(0.1)
    event = Event("late", "click", "late", NOON + timedelta(days=1), user_id="u9")
    await PostgresEvents(engine).append([event])
    assert await shop.live.apply([event])
    late = asks(shop, "u9")
    await asyncio.sleep(0.1)
    shop.store.open.set()
    for state in await asyncio.gather(*early, *late):
        assert items_of(state) == ["i9", "i49", "late"]
    await asyncio.gather(*first)
    assert items_of(await shop.live.read("u9", None)) == ["i9", "i49", "late"]
    client = Redis.from_url(redis_url)
    assert [key async for key in client.scan_iter(match="*:u2:u9")]  # the later one's word counts
    await client.aclose()


async def test_whoever_comes_as_the_last_statement_ends_is_not_left_waiting(shop: Shop) -> None:
    """All that are on their way end in one turn of the event loop, and in the same turn somebody asks."""
    shop.store.is_instant = True
    shop.store.open.clear()
    build, reads = shop.live._builder.build, []
    for n in range(MAX_READS):
        reads.append(asyncio.create_task(build(Subject("u", f"first {n}"))))
        await eventually(lambda n=n: len(shop.store.asked) == n + 1)  # type: ignore[misc]

    async def come_late() -> Part:
        await shop.store.open.wait()
        return await build(Subject("u", "late"))

    late = asyncio.create_task(come_late())
    await asyncio.sleep(0)
    shop.store.open.set()
    assert await asyncio.wait_for(late, 5) == NOTHING
    await asyncio.gather(*reads)


async def test_statements_that_nobody_answers_do_not_keep_others_from_being_read(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "STATEMENT_SECONDS", 0.3)
    silent = await shop.occupy()
    shop.store.open = asyncio.Event()  # for who comes from now on; the others wait for another one
    shop.store.open.set()
    state = await asyncio.wait_for(shop.live.read("u6", "s6"), 10)
    assert items_of(state) == ["i6", "i46"]
    assert not state.degraded
    assert {state.degraded for state in await asyncio.gather(*silent)} == {("user_state",)}
