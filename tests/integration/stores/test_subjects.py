"""What live states are derived from: many users or sessions in one statement."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.fernet import Fernet
from sqlalchemy.ext.asyncio import AsyncEngine

from app.catalogue.item import Consent, User
from app.errors import Invalid, Unavailable
from app.feedback.event import Event, Impression
from app.feedback.seen import MAX_SEEN
from app.feedback.state import MAX_HISTORY, Part, Whose
from app.privacy.encryption import TextCipher
from app.scenarios.scenario import MAX_PURCHASED_DAYS
from app.stores.postgres.catalogue import PostgresCatalogue
from app.stores.postgres.engine import driver_of
from app.stores.postgres.events import PostgresEvents
from app.stores.postgres.impressions import PostgresImpressions
from app.stores.postgres.subjects import STATEMENTS, PostgresSubjects

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
NOTHING = Part([], {}, {}, {}, None)
FULL = User("u1", "likes tea", 41, "f", "cook", "DE", "de-DE", ("a", "b"), {"k": [1, None]}, Consent(False, True), NOON)


def event(event_id: str, minute: float = 0, **more: object) -> Event:
    values: dict[str, object] = {"type": "click", "item_id": f"i-{event_id}", "user_id": "u1"} | more
    return Event(event_id=event_id, occurred_at=NOON + timedelta(minutes=minute), **values)  # type: ignore[arg-type]


@dataclass
class Shop:
    engine: AsyncEngine

    async def send(self, *events: Event) -> None:
        await PostgresEvents(self.engine).append(events)

    async def part(self, name: str = "u1", whose: Whose = "user_id", now: datetime = NOON) -> Part:
        (part,) = await PostgresSubjects(self.engine).parts_of(whose, [name], now)
        assert isinstance(part, Part)
        return part


@pytest.fixture
def shop(engine: AsyncEngine) -> Shop:
    return Shop(engine)


def event_ids(part: Part) -> list[str]:
    return [entry.event_id for entry in part.history]


async def test_history_is_the_newest_by_time_without_impressions(shop: Shop) -> None:
    await shop.send(*(event(str(minute), minute) for minute in (9, 1, 2, 3, 4, 5)))
    await shop.send(event("shown", 20, type="impression"), event("late", 0))
    assert event_ids(await shop.part()) == ["late", "1", "2", "3", "4", "5", "9"]
    await shop.send(*(event(f"more {n:03}", 30) for n in range(MAX_HISTORY - 1)))
    assert event_ids(await shop.part()) == ["9", *(f"more {n:03}" for n in range(MAX_HISTORY - 1))]


async def test_an_entry_is_what_the_event_was_to_the_microsecond(shop: Shop) -> None:
    at = NOON + timedelta(microseconds=123_457)
    one = Event('e\\1 {茶} "x"', "rating", 'a,"b"\\', at, "ü,1 '", value=1.0)
    await shop.send(one)
    (entry,) = (await shop.part("ü,1 '")).history
    assert entry == (one.item_id, "dislike", at.timestamp(), one.event_id)


async def test_last_purchases_of_each_item(shop: Shop) -> None:
    await shop.send(
        event("1", 1, type="purchase", item_id="a"), event("2", 7, type="purchase", item_id="a"), event("3", 8, item_id="a"),
        event("4", 3, type="purchase", item_id="b", user_id=None, session_id="s1"),
        event("5", -MAX_PURCHASED_DAYS * 1440 - 1, type="purchase", item_id="old"),
    )  # fmt: skip
    assert (await shop.part()).purchased == {"a": NOON.timestamp() + 420}
    assert (await shop.part("s1", "session_id")).purchased == {"b": NOON.timestamp() + 180}


async def test_what_was_seen_counts_until_it_was_acted_on(shop: Shop) -> None:
    def slate(name: str, minute: float, *items: str) -> Impression:
        chances = (1.0,) * len(items)
        return Impression(name, "home", "v", NOON + timedelta(minutes=minute), items, chances, chances, user_id="u1")

    await PostgresImpressions(shop.engine).write([slate("r1", 0, "a", "b"), slate("r2", 1, "a", "c")])
    await shop.send(
        event("told again", 2, type="impression", item_id="a", recommendation_id="r2"),  # is the slate's own
        event("of the shop", 3, type="impression", item_id="d"),
        event("click", 4, item_id="b"), event("no act", 4, type="dislike", item_id="c"),
    )  # fmt: skip
    part = await shop.part(now=NOON)
    assert list(part.seen) == ["a", "d", "c"]
    assert part.seen == pytest.approx({"a": 2.0, "c": 1.0, "d": 1.0}, rel=1e-3)
    assert (await shop.part(now=NOON + timedelta(days=7))).seen["a"] == pytest.approx(1.0, rel=1e-3)
    await PostgresImpressions(shop.engine).write(
        [slate(f"m{n}", 5, *(f"{n}-{k}" for k in range(50))) for n in range(12)]
    )
    many = await shop.part()
    assert len(many.seen) == MAX_SEEN
    assert next(iter(many.seen)) == "a"


async def test_a_dislike_stands_until_a_later_liking(shop: Shop) -> None:
    await shop.send(
        event("1", 1, type="dislike", item_id="stands"), event("2", 0, type="like", item_id="stands"),
        event("3", 1, type="dislike", item_id="taken back"), event("4", 2, type="rating", value=5.0, item_id="taken back"),
        event("5", 3, type="rating", value=1.0, item_id="one star"), event("6", 4, type="rating", value=3.0, item_id="so so"),
    )  # fmt: skip
    assert (await shop.part()).dismissed == {"stands": NOON.timestamp() + 60, "one star": NOON.timestamp() + 180}


async def test_many_at_once_come_in_order_and_nobody_gets_what_is_anothers(shop: Shop) -> None:
    names = ["nobody", "u2", "u1", "never seen", "u1"]
    await PostgresCatalogue(shop.engine).upsert_users([FULL])
    await shop.send(event("1"), event("2", user_id="u2"), event("3", user_id=None, session_id="u1"))
    parts = await PostgresSubjects(shop.engine).parts_of("user_id", names, NOON)
    assert [event_ids(part) for part in parts if isinstance(part, Part)] == [[], ["2"], ["1"], [], ["1"]]
    assert [part.profile for part in parts if isinstance(part, Part)] == [None, None, FULL, None, FULL]
    assert parts[0] == NOTHING
    of_session = await PostgresSubjects(shop.engine).parts_of("session_id", ["u1", "u2"], NOON)
    assert [event_ids(part) for part in of_session if isinstance(part, Part)] == [["3"], []]


async def test_whose_profile_cannot_be_read_holds_up_nobody_else(shop: Shop) -> None:
    theirs = TextCipher([Fernet.generate_key().decode()])
    await PostgresCatalogue(shop.engine, theirs).upsert_users([FULL, User("u2")])
    assert await PostgresSubjects(shop.engine, theirs).parts_of("user_id", ["u1"], NOON) == [
        NOTHING._replace(profile=FULL)
    ]
    lost, other = await PostgresSubjects(shop.engine).parts_of("user_id", ["u1", "u2"], NOON)
    assert isinstance(lost, Unavailable)
    assert isinstance(other, Part)


async def test_a_name_that_the_database_cannot_hold_is_refused(shop: Shop) -> None:
    with pytest.raises(Invalid):
        await PostgresSubjects(shop.engine).parts_of("user_id", ["u1", "a\0b"], NOON)


async def test_the_statement_is_planned_once(shop: Shop) -> None:
    """However few names there are: planning takes longer than looking up somebody who is new."""
    for whose, statement in STATEMENTS.items():
        async with driver_of(shop.engine) as driver:
            for n in range(12):
                await driver.fetch(statement, [f"{whose} {n}"], NOON, NOON, NOON)
            (plans,) = await driver.fetch(
                "SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement = $1", statement
            )
        assert (plans["generic_plans"], plans["custom_plans"]) == (7, 5), whose
