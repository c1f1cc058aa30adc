"""What a guest did becomes the account's: once, all of it, and nothing of anybody else's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from app.catalogue.item import Consent, User
from app.errors import Invalid
from app.feedback.event import Event, Impression
from app.feedback.intake import FeedbackIntake
from app.feedback.merging import Guest, Merged, Merger, joined
from app.stores.postgres.catalogue import PostgresCatalogue
from app.stores.postgres.engine import begin
from app.stores.postgres.events import PostgresEvents
from app.stores.postgres.impressions import PostgresImpressions
from app.stores.postgres.merging import PostgresMerges
from app.stores.postgres.revisions import PostgresRevisions
from app.stores.postgres.subjects import PostgresSubjects
from app.stores.postgres.tables import events, impressions
from app.stores.redis.live_state import RedisLiveState

NOW = datetime.now(UTC).replace(microsecond=0)


def event(event_id: str, user_id: str | None = None, session_id: str | None = None, kind: str = "click") -> Event:
    at = NOW - timedelta(minutes=60 - int(event_id[1:]))
    return Event(event_id, kind, f"item-{event_id}", at, user_id=user_id, session_id=session_id)


def impression(recommendation_id: str, user_id: str | None = None, session_id: str | None = None) -> Impression:
    return Impression(recommendation_id, "home", "v1", NOW, ("a",), (1.0,), (1.0,), user_id, session_id)


async def owners(engine: AsyncEngine) -> dict[str, str | None]:
    async with begin(engine) as connection:
        of_events = await connection.execute(select(events.c.event_id, events.c.user_id))
        of_impressions = await connection.execute(select(impressions.c.recommendation_id, impressions.c.user_id))
        return {row[0]: row[1] for row in (*of_events, *of_impressions)}


async def test_a_session_gives_what_belongs_to_nobody_yet(engine: AsyncEngine) -> None:
    store, merges = PostgresEvents(engine), PostgresMerges(engine)
    await store.append(
        [event("e1", None, "s"), event("e2", "other", "s"), event("e3", None, "t"), event("e4", "u", "s")]
    )
    await PostgresImpressions(engine).write([impression("r1", None, "s"), impression("r2", "other", "s")])
    assert await merges.merge(Guest(session_id="s"), "u") == Merged(events=1, impressions=1)
    assert await owners(engine) == {"e1": "u", "e2": "other", "e3": None, "e4": "u", "r1": "u", "r2": "other"}
    assert await merges.merge(Guest(session_id="s"), "u") == Merged()
    await store.append([event("e5", None, "s")])
    assert await merges.merge(Guest(session_id="s"), "u") == Merged(events=1)


async def test_a_guest_id_gives_everything_and_is_gone(engine: AsyncEngine) -> None:
    store, merges, catalogue = PostgresEvents(engine), PostgresMerges(engine), PostgresCatalogue(engine)
    await store.append([event("e1", "guest", "s"), event("e2", "u"), event("e3", "guest")])
    await store.retract("e3")
    await PostgresImpressions(engine).write([impression("r1", "guest")])
    await catalogue.upsert_users([User("guest", "I fish", 30), User("u", None, 40, country="DE")])
    assert await merges.merge(Guest("guest"), "u") == Merged(events=2, impressions=1, profile=True)
    assert await owners(engine) == {"e1": "u", "e2": "u", "e3": "u", "r1": "u"}
    merged = await catalogue.get_user("u")
    assert merged is not None
    assert (merged.text, merged.age, merged.country) == ("I fish", 40, "DE")
    assert await catalogue.get_user("guest") is None
    assert await merges.merge(Guest("guest"), "u") == Merged()


async def test_an_account_that_was_only_known_from_events_takes_the_profile(engine: AsyncEngine) -> None:
    store, merges, catalogue = PostgresEvents(engine), PostgresMerges(engine), PostgresCatalogue(engine)
    await store.append([event("e1", "u")])
    await catalogue.upsert_users([User("guest", "I fish", consent=Consent(train=False))])
    assert (await merges.merge(Guest("guest"), "u")).profile
    found = await catalogue.get_user("u")
    assert found is not None
    assert (found.text, found.consent) == ("I fish", Consent(True, False))


async def test_an_unknown_guest_gives_nothing_and_makes_nobody(engine: AsyncEngine) -> None:
    merges, catalogue = PostgresMerges(engine), PostgresCatalogue(engine)
    for guest in (Guest("nobody"), Guest(session_id="nothing")):
        assert await merges.merge(guest, "u") == Merged()
    assert await catalogue.get_user("u") is None


def test_consent_is_what_both_gave_and_the_account_wins() -> None:
    account = User("u", text="A", tags=("x",), attributes={"k": 1}, consent=Consent(True, False))
    guest = User("g", text="B", gender="f", tags=("y", "x"), attributes={"k": 2, "l": 3}, consent=Consent(False, True))
    both = joined(account, guest)
    assert (both.user_id, both.text, both.gender) == ("u", "A", "f")
    assert (both.tags, both.attributes, both.consent) == (("x", "y"), {"k": 1, "l": 3}, Consent(False, False))


async def test_the_next_slate_knows_it_and_a_retraction_still_works(engine: AsyncEngine, redis_url: str) -> None:
    store = PostgresEvents(engine)
    live = RedisLiveState(
        redis_url, events=store, subjects=PostgresSubjects(engine), revisions=PostgresRevisions(engine)
    )
    intake = FeedbackIntake(store, live)
    merger = Merger(PostgresMerges(engine), live, intake.settle)
    await live.start()
    await intake.start()
    try:
        await intake.submit([event("e1", None, "s"), event("e2", None, "s", "purchase"), event("e3", "u")])
        for _ in range(2):  # a state that is kept as well as one that is not
            assert [e.event_id for e in (await live.read("u", None)).history] == ["e3"]
            assert [e.event_id for e in (await live.read(None, "s")).history] == ["e1", "e2"]
        await merger.merge(Guest(session_id="s"), "u")
        state = await live.read("u", None)
        assert [e.event_id for e in state.history] == ["e1", "e2", "e3"]
        assert set(state.purchased) == {"item-e2"}
        assert await intake.retract("e2")
        assert [e.event_id for e in (await live.read("u", "s")).history] == ["e1", "e3"]
        with pytest.raises(Invalid):
            await merger.merge(Guest("u"), "u")
    finally:
        await intake.close()
        await live.close()
