"""Items and users: whole writes, stubs, paging in byte order, and a revision that no reader can miss."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import UTC, datetime

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.catalogue.item import Consent, Item, User
from app.errors import Invalid, Unavailable
from app.feedback.event import Event
from app.stores.postgres import engine as engine_module
from app.stores.postgres.catalogue import PostgresCatalogue
from app.stores.postgres.engine import begin, create_engine, is_reachable
from app.stores.postgres.events import PostgresEvents
from app.stores.postgres.revisions import PostgresRevisions

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
FULL = Item(
    "a/b %2F 茶 💡", "Tea 'pot'", 'says "hi"\n', ("Home", "Kitchen, etc."), "Ünder", 4.95, "EUR", ("x,y", "{z}", ""),
    {"depth": {"cm": [1, 2.5, None, True]}}, "https://example.org/1.jpg", "de-DE", False, NOON, NOON, NOON,
)  # fmt: skip


@pytest.fixture
def store(engine: AsyncEngine) -> PostgresCatalogue:
    return PostgresCatalogue(engine)


async def test_an_item_comes_back_as_it_went_in(store: PostgresCatalogue) -> None:
    await store.upsert_items([FULL, Item("bare")])
    assert await store.get_item(FULL.item_id) == FULL
    bare = await store.get_item("bare")
    assert bare is not None
    assert bare.created_at is not None
    assert dataclasses.replace(bare, created_at=None) == Item("bare")


async def test_a_replaced_item_keeps_its_birthday_and_loses_what_is_not_said_again(store: PostgresCatalogue) -> None:
    await store.upsert_items([FULL])
    await store.upsert_items([Item(FULL.item_id, title="new")])
    assert await store.get_item(FULL.item_id) == Item(FULL.item_id, title="new", created_at=NOON)


async def test_the_last_of_repeated_items_wins(store: PostgresCatalogue) -> None:
    await store.upsert_items([Item("a", title="1"), Item("b"), Item("a", title="2")])
    assert [item.title for item in await store.get_items(["b", "a", "none"])] == [None, "2"]


async def test_update_changes_one_item_and_moves_the_revision(store: PostgresCatalogue) -> None:
    first = await store.upsert_items([Item("a", title="1", price=3.0)])
    updated = await store.update_item("a", lambda item: dataclasses.replace(item, price=4.0))
    assert updated is not None
    item, revision = updated
    assert (item.title, item.price, revision) == ("1", 4.0, first + 1)
    assert await store.update_item("none", lambda item: item) is None


async def test_concurrent_updates_of_one_item_all_count(store: PostgresCatalogue) -> None:
    await store.upsert_items([Item("a", price=0.0)])
    add_one = [
        store.update_item("a", lambda item: dataclasses.replace(item, price=(item.price or 0) + 1)) for _ in range(20)
    ]
    await asyncio.gather(*add_one)
    item = await store.get_item("a")
    assert item is not None
    assert item.price == 20.0


async def test_a_deleted_item_is_a_stub_that_readers_of_changes_see_go(
    store: PostgresCatalogue, engine: AsyncEngine
) -> None:
    seen = await store.upsert_items([FULL])
    revision = await store.delete_item(FULL.item_id)
    assert revision == seen + 1
    assert await store.get_item(FULL.item_id) is None
    assert await store.delete_item(FULL.item_id) is None
    changes = await store.items_changed_since(seen)
    assert (changes.revision, changes.items, changes.removed) == (revision, (), (FULL.item_id,))
    assert (await PostgresRevisions(engine).read()).catalogue == revision


async def test_a_stub_is_absent_everywhere_until_described(store: PostgresCatalogue, engine: AsyncEngine) -> None:
    await PostgresEvents(engine).append([Event("e1", "click", "ghost", NOON, user_id="shade")])
    assert await store.get_item("ghost") is None
    assert await store.get_user("shade") is None
    assert await store.list_items(after=None, limit=10) == []
    assert await store.list_users(after=None, limit=10) == []
    assert await store.update_item("ghost", lambda item: item) is None
    assert (await store.items_changed_since(0)).revision == 0
    await store.upsert_items([Item("ghost", created_at=NOON)])
    assert await store.get_item("ghost") == Item("ghost", created_at=NOON)


async def test_pages_follow_the_bytes_of_ids(store: PostgresCatalogue) -> None:
    ids = ["Z", "a", "B", "é", "a b", "10", "9", "茶", "a/c", "💡"]
    await store.upsert_items([Item(item_id) for item_id in ids])
    seen: list[str] = []
    while page := await store.list_items(after=seen[-1] if seen else None, limit=3):
        seen += [item.item_id for item in page]
    assert seen == sorted(ids, key=lambda item_id: item_id.encode())


async def test_search_ignores_case_and_takes_wildcards_literally(store: PostgresCatalogue) -> None:
    await store.upsert_items(
        [Item("a", title="ÉCLAIR 100%"), Item("b", brand="Éclat"), Item("ÉC-1"), Item("d", title="x")]
    )

    async def find(query: str) -> list[str]:
        return [item.item_id for item in await store.list_items(after=None, limit=9, query=query)]

    assert await find("éc") == ["a", "b", "ÉC-1"]
    assert await find("%") == ["a"]
    assert await find("_") == []


async def test_a_reader_of_changes_misses_nothing_under_concurrent_writers(store: PostgresCatalogue) -> None:
    finished = asyncio.Event()
    seen: set[str] = set()

    async def write(worker: int) -> None:
        for n in range(15):
            await store.upsert_items([Item(f"{worker}-{n}-{k}") for k in range(3)])

    async def follow() -> int:
        revision = 0
        while True:
            last_round = finished.is_set()
            changes = await store.items_changed_since(revision, limit=4)
            assert changes.revision >= revision
            revision = changes.revision
            seen.update(item.item_id for item in changes.items)
            if last_round and not changes.has_more:
                return revision

    follower = asyncio.create_task(follow())
    await asyncio.gather(*(write(worker) for worker in range(6)))
    finished.set()
    assert await follower == 90
    assert len(seen) == 6 * 15 * 3


async def test_users_come_back_as_they_went_in(store: PostgresCatalogue) -> None:
    user = User("u/1", "likes tea", 41, "f", "nurse", "DE", "de", ("a",), {"k": [1]}, Consent(False, False), NOON)
    await store.upsert_users([user, User("u2")])
    assert await store.get_user("u/1") == user
    changed = await store.update_user("u/1", lambda found: dataclasses.replace(found, consent=Consent()))
    assert changed == dataclasses.replace(user, consent=Consent()) == await store.get_user("u/1")
    assert [found.user_id for found in await store.list_users(after="u/1", limit=5)] == ["u2"]


async def test_text_that_postgres_cannot_hold_is_invalid(store: PostgresCatalogue) -> None:
    with pytest.raises(Invalid):
        await store.upsert_items([Item("a", attributes={"k": "nul \0"})])
    assert await store.get_item("a") is None


async def test_a_statement_that_takes_too_long_is_unavailable(database_url: str) -> None:
    engine = create_engine(database_url, statement_seconds=0.2)
    with pytest.raises(Unavailable):
        async with begin(engine) as connection:
            await connection.execute(text("SELECT pg_sleep(5)"))
    assert await is_reachable(engine)
    await engine.dispose()


async def test_a_pool_without_a_free_connection_is_unavailable(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "POOL_WAIT_SECONDS", 0.1)
    engine = create_engine(database_url, pool_size=1, max_overflow=0)
    async with engine.connect():
        with pytest.raises(Unavailable):
            await PostgresCatalogue(engine).get_item("a")
    assert await PostgresCatalogue(engine).get_item("a") is None
    await engine.dispose()


async def test_no_database_is_unavailable() -> None:
    engine = create_engine("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(Unavailable) as caught:
        await PostgresCatalogue(engine).get_item("a")
    assert caught.value.code == "store_unavailable"
    assert not await is_reachable(engine)
    await engine.dispose()
