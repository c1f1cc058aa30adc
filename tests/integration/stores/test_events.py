"""Events and impressions: idempotent groups, stubs, retraction."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from app.errors import Invalid
from app.feedback.event import Event, Impression
from app.feedback.state import HistoryEntry, Part
from app.stores.postgres.events import PostgresEvents
from app.stores.postgres.impressions import PostgresImpressions
from app.stores.postgres.subjects import PostgresSubjects
from app.stores.postgres.tables import impressions, items, users

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def event(event_id: str, minute: int = 0, **more: object) -> Event:
    values: dict[str, object] = {"type": "click", "item_id": "i1", "user_id": "u1"} | more
    return Event(event_id=event_id, occurred_at=NOON + timedelta(minutes=minute), **values)  # type: ignore[arg-type]


@pytest.fixture
def store(engine: AsyncEngine) -> PostgresEvents:
    return PostgresEvents(engine)


async def history(engine: AsyncEngine) -> list[HistoryEntry]:
    (part,) = await PostgresSubjects(engine).parts_of("user_id", ["u1"], NOON)
    assert isinstance(part, Part)
    return list(part.history)


async def test_an_event_comes_back_as_it_went_in(store: PostgresEvents) -> None:
    full = Event(
        "e\\1 {茶}",
        "purchase",
        'a,"b"',
        NOON,
        "ü,1",
        "s 1",
        "home",
        "01J",
        3,
        9.99,
        2.0,
        "EUR",
        "o1",
        {"k": ["v", None]},
    )
    assert await store.append([full]) == {full.event_id}
    assert await store.retract(full.event_id) == full


async def test_a_repeated_id_changes_nothing(store: PostgresEvents, engine: AsyncEngine) -> None:
    assert await store.append([event("a"), event("b"), event("a", item_id="other")]) == {"a", "b"}
    assert await store.append([event("b", item_id="other"), event("c")]) == {"c"}
    assert [(entry.event_id, entry.item_id) for entry in await history(engine)] == [
        ("a", "i1"),
        ("b", "i1"),
        ("c", "i1"),
    ]


async def test_a_retracted_event_is_gone_and_its_id_stays_taken(store: PostgresEvents, engine: AsyncEngine) -> None:
    await store.append([event("a"), event("b", 1)])
    assert await store.retract("a") == event("a")
    assert await store.retract("a") is None
    assert await store.retract("none") is None
    assert [entry.event_id for entry in await history(engine)] == ["b"]
    assert await store.append([event("a")]) == set()
    assert [entry.event_id for entry in await history(engine)] == ["b"]


async def test_unknown_items_and_users_become_one_stub_each(store: PostgresEvents, engine: AsyncEngine) -> None:
    await asyncio.gather(*(store.append([event(f"{n}-{k}", user_id=f"u{k}") for k in range(20)]) for n in range(8)))
    async with engine.connect() as connection:
        assert (await connection.execute(select(func.count()).select_from(items))).scalar_one() == 1
        assert (await connection.execute(select(func.count()).select_from(users))).scalar_one() == 20


async def test_writers_of_the_same_ids_in_opposite_order_agree(store: PostgresEvents) -> None:
    ids = [event(f"e{n:03}", item_id=f"i{n}") for n in range(300)]
    new = await asyncio.gather(store.append(ids), store.append(ids[::-1]), store.append(ids))
    assert sum(len(part) for part in new) == 300


async def test_a_group_with_a_value_that_cannot_be_held_writes_nothing(
    store: PostgresEvents, engine: AsyncEngine
) -> None:
    with pytest.raises(Invalid):
        await store.append([event("good"), event("bad", context={"k": "\0"})])
    assert await history(engine) == []


async def test_counts_by_hour(store: PostgresEvents) -> None:
    await store.append(
        [event("1", 0), event("2", 59), event("3", 60), event("4", 1, scenario="home"), event("5", -999)]
    )
    hour = int(NOON.timestamp() // 3600)
    counts = (await store.counts_by_hour(NOON)).rows
    assert sorted(counts, key=str) == sorted(
        [(hour, None, "i1", "click", 2), (hour + 1, None, "i1", "click", 1), (hour, "home", "i1", "click", 1)], key=str
    )


async def test_impressions_are_written_once(engine: AsyncEngine) -> None:
    shown = Impression("r1", "home", "v1", NOON, ("a", "b"), (0.5, 0.25), (1.0, 0.5), "u1", context={"device": "x"})
    store = PostgresImpressions(engine)
    await store.write([shown])
    await store.write([shown, Impression("r2", "home", "v1", NOON, (), (), ())])
    async with engine.connect() as connection:
        rows = (await connection.execute(select(impressions).order_by("recommendation_id"))).all()
    assert [row.recommendation_id for row in rows] == ["r1", "r2"]
    assert (rows[0].item_ids, rows[0].scores, rows[0].propensities) == (["a", "b"], [0.5, 0.25], [1.0, 0.5])
    assert (rows[0].context, rows[1].context) == ({"device": "x"}, None)
