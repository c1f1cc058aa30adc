"""A whole shop goes in by COPY and comes back equal, however odd its texts; a repeated load adds nothing."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.catalogue.item import Item
from app.catalogue.shop_data import EVENT_SCHEMA, ITEM_SCHEMA, LOG_COLUMNS, USER_SCHEMA, ShopData
from app.errors import BadData, Cancelled, Invalid
from app.feedback.event import Event
from app.stores.postgres import shop_data
from app.stores.postgres.catalogue import PostgresCatalogue
from app.stores.postgres.events import PostgresEvents
from app.stores.postgres.shop_data import PostgresShopData
from app.types import no_progress

NOON = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
ODD = ["", " ", '"', '""', "a,b", "l\r\nm\n", "\\N", "\\.", "NULL", "null", "茶 💡", "{a,b}", "'", "t", "1e3", "\ttab"]


def frame(rows: list[dict[str, Any]], schema: pl.Schema) -> pl.DataFrame:
    return pl.DataFrame([dict.fromkeys(schema) | row for row in rows], schema=schema)


def odd_shop() -> ShopData:
    items = [
        {"item_id": f"i{n:02}", "title": text, "category": [text, "x"], "tags": ODD[:n], "price": 0.1 + n, "brand": None,
         "attributes": '{"k": "a"}', "available": n % 2 == 0, "created_at": NOON, "published_at": NOON}
        for n, text in enumerate(ODD)
    ]  # fmt: skip
    users = [
        {"user_id": f"u{n:02}", "text": text, "age": n, "tags": [], "attributes": "{}", "personalize": True, "train": n > 0,
         "created_at": NOON}
        for n, text in enumerate(ODD)
    ]  # fmt: skip
    events = [
        {"event_id": f"e{n}", "type": "click", "item_id": f"i{n:02}", "user_id": f"u{n:02}" if n else None,
         "session_id": text, "scenario": text, "position": n, "value": n / 3, "occurred_at": NOON + timedelta(seconds=n),
         "context": '{"k": [1]}' if n else None}
        for n, text in enumerate(ODD)
    ]  # fmt: skip
    return ShopData(frame(items, ITEM_SCHEMA), frame(users, USER_SCHEMA), frame(events, EVENT_SCHEMA))


@pytest.fixture
def store(engine: AsyncEngine) -> PostgresShopData:
    return PostgresShopData(engine)


async def test_a_shop_comes_back_equal(store: PostgresShopData) -> None:
    shop = odd_shop()
    counts = await store.load(shop, no_progress)
    assert counts == {"items": 16, "users": 16, "events": 16, "events_already_there": 0}
    again = await store.read()
    for name in ("items", "users", "events"):
        assert getattr(again, name).to_dicts() == getattr(shop, name).to_dicts()
    assert await store.counts() == {"items": 16, "users": 16, "events": 16}


async def test_any_text_comes_back_equal(store: PostgresShopData) -> None:
    """Random texts, heavy with what CSV, COPY and arrays treat specially."""
    random = np.random.default_rng(7)
    special = [ord(letter) for letter in "\",\\\n\r\t{}'; .NULt0"]
    letters = np.array([*special * 40, *range(1, 0xD800, 97), *range(0xE000, 0x110000, 997)])
    texts = ["".join(map(chr, random.choice(letters, length))) for length in random.integers(0, 30, 3_000)]
    rows = [
        {"event_id": f"{n}|{text}", "type": text, "item_id": text, "session_id": text, "occurred_at": NOON,
         "context": json.dumps({"k": text})}
        for n, text in enumerate(texts)
    ]  # fmt: skip
    shop = ShopData(frame([], ITEM_SCHEMA), frame([], USER_SCHEMA), frame(rows, EVENT_SCHEMA))
    await store.load(shop, no_progress)
    again = (await store.read()).events
    assert again.drop("context").equals(shop.events.drop("context"))
    assert [json.loads(text) for text in again["context"]] == [{"k": text} for text in texts]


async def test_a_load_and_live_writers_do_not_stop_each_other(
    store: PostgresShopData, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shop_data, "EVENT_CHUNK", 200)
    monkeypatch.setattr(shop_data, "ENTITY_CHUNK", 50)
    names = [f"i{n:03}" for n in range(400)]
    items = [{"item_id": name, "category": [], "tags": []} for name in names]
    events = [
        {
            "event_id": f"e{n}",
            "type": "click",
            "item_id": names[n * 7 % 400],
            "user_id": f"u{n % 90}",
            "occurred_at": NOON,
        }
        for n in range(2_000)
    ]
    shop = ShopData(frame(items, ITEM_SCHEMA), frame([], USER_SCHEMA), frame(events, EVENT_SCHEMA))
    catalogue, feedback = PostgresCatalogue(engine), PostgresEvents(engine)

    async def write(worker: int) -> None:
        for n in range(10):
            await catalogue.upsert_items([Item(name) for name in names[worker * 50 : worker * 50 + 200][::-1]])
            await feedback.append(
                [Event(f"{worker}-{n}-{k}", "view", name, NOON, f"u{k}") for k, name in enumerate(names[::-7])]
            )

    await asyncio.gather(store.load(shop, no_progress), *(write(worker) for worker in range(4)))
    assert await store.counts() == {"items": 400, "users": 0, "events": 2_000 + 4 * 10 * len(names[::-7])}


async def test_an_empty_shop_comes_back_empty(store: PostgresShopData) -> None:
    empty = ShopData(frame([], ITEM_SCHEMA), frame([], USER_SCHEMA), frame([], EVENT_SCHEMA))
    assert await store.load(empty, no_progress) == {"items": 0, "users": 0, "events": 0, "events_already_there": 0}
    assert (await store.read()).events.schema == EVENT_SCHEMA
    async with store.open_log() as log:
        assert log.until == 0
        assert [piece async for piece in log.pieces] == []


async def test_loading_again_adds_nothing_and_replaces_descriptions(
    store: PostgresShopData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shop_data, "EVENT_CHUNK", 5)
    monkeypatch.setattr(shop_data, "ENTITY_CHUNK", 5)
    shop = odd_shop()
    await store.load(shop, no_progress)
    renamed = dataclasses.replace(
        shop, items=shop.items.with_columns(title=pl.lit("new"), created_at=None).cast(dict(ITEM_SCHEMA))
    )
    assert (await store.load(renamed, no_progress))["events_already_there"] == 16
    again = await store.read()
    assert again.items["title"].unique().to_list() == ["new"]
    assert again.items["created_at"].unique().to_list() == [NOON]
    assert len(again.events) == 16


async def test_what_is_read_for_training_honours_consent_retraction_and_deletion(
    store: PostgresShopData, engine: AsyncEngine
) -> None:
    await store.load(odd_shop(), no_progress)
    await PostgresEvents(engine).retract("e1")
    await PostgresCatalogue(engine).delete_item("i02")
    await PostgresEvents(engine).append([Event("mine", "click", "i03", NOON, user_id="u00")])
    whole, (users, events, _) = await store.read(), await read_log(store)
    assert {"mine", "e0", "e2"} <= set(whole.events["event_id"])
    assert "e1" not in set(whole.events["event_id"])
    assert "i02" not in set(whole.items["item_id"])
    assert events.drop("query").equals(whole.events.filter(pl.col("event_id") != "mine").select(LOG_COLUMNS))
    assert set(whole.users["user_id"]) - set(users["user_id"]) == {"u00"}


async def read_log(store: PostgresShopData, until: int | None = None) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Users, events and the number of the newest event."""
    async with store.open_log(until) as log:
        pieces = [piece async for piece in log.pieces]
        return log.users, pl.concat(pieces), log.until


async def test_a_second_reading_finds_what_the_first_one_did(store: PostgresShopData, engine: AsyncEngine) -> None:
    await store.load(odd_shop(), no_progress)
    _, first, until = await read_log(store)
    await PostgresEvents(engine).append([Event("later", "click", "i03", NOON, user_id="u01")])
    _, again, _ = await read_log(store, until)
    assert again.equals(first)
    assert len((await read_log(store))[1]) == len(first) + 1


async def test_events_come_in_pieces(store: PostgresShopData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.stores.postgres.copy.BLOCK_BYTES", 200)
    await store.load(odd_shop(), no_progress)
    async with store.open_log() as log:
        pieces = [piece async for piece in log.pieces]
    assert len(pieces) > 3
    assert pl.concat(pieces).drop("query").equals((await store.read()).events.select(LOG_COLUMNS))


async def test_a_log_says_what_was_searched_for(store: PostgresShopData, engine: AsyncEngine) -> None:
    """The query of an event's context, where it is text; the rest of the context stays where it is."""
    contexts = ({"query": "Red Mug"}, {"query": 7}, {"device": "phone"}, {"query": "", "device": "phone"}, {})
    await store.load(odd_shop(), no_progress)
    _, before, _ = await read_log(store)
    added = [Event(f"q{n}", "click", "i03", NOON, user_id="u01", context=context) for n, context in enumerate(contexts)]
    await PostgresEvents(engine).append(added)
    _, events, _ = await read_log(store)
    assert events.filter(pl.col("query").is_not_null())["query"].to_list() == ["Red Mug", ""]
    assert len(events) == len(before) + len(contexts)


async def test_events_of_undescribed_items_make_stubs(store: PostgresShopData, engine: AsyncEngine) -> None:
    shop = odd_shop()
    await store.load(ShopData(shop.items.head(0), shop.users.head(0), shop.events), no_progress)
    assert await store.counts() == {"items": 0, "users": 0, "events": 16}
    catalogue = PostgresCatalogue(engine)
    assert (await catalogue.items_changed_since(0)).revision == 0
    await catalogue.upsert_items([Item("i01")])
    assert await store.counts() == {"items": 1, "users": 0, "events": 16}


async def test_a_load_that_is_stopped_can_be_repeated(store: PostgresShopData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shop_data, "EVENT_CHUNK", 5)

    def stop_at_events(stage: str, done: float, note: str = "") -> None:
        if stage == "load events":
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        await store.load(odd_shop(), stop_at_events)
    assert (await store.counts())["events"] == 5
    assert (await store.load(odd_shop(), no_progress))["events_already_there"] == 5


async def test_gaps_and_values_that_cannot_be_held_are_refused(store: PostgresShopData) -> None:
    shop = odd_shop()
    with pytest.raises(BadData, match="16 rows have no occurred_at"):
        await store.load(
            dataclasses.replace(shop, events=shop.events.with_columns(occurred_at=None).cast(dict(EVENT_SCHEMA))),
            no_progress,
        )
    with pytest.raises(Invalid):
        await store.load(dataclasses.replace(shop, items=shop.items.with_columns(title=pl.lit("\0"))), no_progress)


async def test_rows_of_an_id_alone_leave_descriptions_and_consent(store: PostgresShopData) -> None:
    shop = odd_shop()
    await store.load(shop, no_progress)
    before = await store.read()
    bare_item = {"category": [], "tags": [], "available": True}
    bare_user: dict[str, Any] = {"tags": []}
    ids_alone = ShopData(
        frame([{"item_id": name} | bare_item for name in [*shop.items["item_id"], "new"]], ITEM_SCHEMA),
        frame([{"user_id": name} | bare_user for name in shop.users["user_id"]], USER_SCHEMA),
        frame([], EVENT_SCHEMA),
    )
    await store.load(ids_alone, no_progress)
    after = await store.read()
    assert after.items.filter(pl.col("item_id") != "new").to_dicts() == before.items.to_dicts()
    assert after.users.to_dicts() == before.users.to_dicts()
    assert await store.counts() == {"items": 17, "users": 16, "events": 16}


async def test_a_load_changes_consent_only_where_it_speaks_of_it(store: PostgresShopData) -> None:
    def users(**consent: bool | None) -> ShopData:
        rows = [{"user_id": name, "text": "t", "tags": []} | consent for name in ("refused", "new")]
        return ShopData(frame([], ITEM_SCHEMA), frame(rows, USER_SCHEMA), frame([], EVENT_SCHEMA))

    async def stored() -> list[tuple[Any, ...]]:
        return (await store.read()).users.select("user_id", "text", "personalize", "train").rows()

    refusal = users(personalize=False, train=False)
    await store.load(dataclasses.replace(refusal, users=refusal.users.head(1)), no_progress)
    await store.load(users(), no_progress)
    assert await stored() == [("new", "t", True, True), ("refused", "t", False, False)]
    await store.load(users(train=True), no_progress)
    assert await stored() == [("new", "t", True, True), ("refused", "t", False, True)]
    twice = pl.concat([refusal.users, users(train=True).users])
    await store.load(dataclasses.replace(refusal, users=twice), no_progress)
    assert await stored() == [("new", "t", True, True), ("refused", "t", False, True)]
