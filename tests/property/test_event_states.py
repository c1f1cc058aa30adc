"""Events in any order: posted, sent again, taken back, merged, erased. After each step the store and the live state say what a
simple model says.

The services are the real ones over embedded stores. Bounded: a dozen runs of 25 steps, and no search for a smaller case.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import uuid
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import text

from app.catalogue.item import Consent, User
from app.embedded.redis import Redis, start_redis
from app.errors import Invalid
from app.feedback.event import Event
from app.feedback.merging import Guest
from app.stores.postgres.engine import begin
from app.stores.postgres.tables import events, users
from app.types import utc_now
from tests.conftest import Servers, database_named, run_sql
from tests.integration.privacy.conftest import Site, open_site
from tests.integration.privacy.holdings import rows

START = utc_now() - timedelta(days=1)
USERS, SESSIONS, ITEMS = ("anna", "bert"), ("s1", "s2"), ("pan", "pot", "rod")
KINDS = ("view", "click", "purchase", "like", "dislike")
T = TypeVar("T")


@dataclass(frozen=True)
class Past:
    """An event as the model knows it."""

    event: Event
    is_retracted: bool = False


class EventStates(RuleBasedStateMachine):
    loop: asyncio.AbstractEventLoop
    site: Site

    def __init__(self) -> None:
        super().__init__()
        self.past: dict[str, Past] = {}
        self.profiles: dict[str, User] = {}
        self.number = 0

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @initialize()
    def start_empty(self) -> None:
        self.wait(empty(self.site))

    @rule(
        acts=st.lists(
            st.tuples(
                st.none() | st.sampled_from(USERS), st.none() | st.sampled_from(SESSIONS), st.sampled_from(ITEMS),
                st.sampled_from(KINDS), st.integers(0, 600),
            ), min_size=1, max_size=6,
        )
    )  # fmt: skip
    def post(self, acts: list[tuple[str | None, str | None, str, str, int]]) -> None:
        given = []
        for user_id, session_id, item_id, kind, minute in acts:
            self.number += 1
            at = START + timedelta(minutes=minute, milliseconds=self.number)  # no two at the same moment
            whose = (user_id, session_id) if user_id or session_id else (None, SESSIONS[0])
            given.append(Event(f"e{self.number:03}", kind, item_id, at, *whose, scenario="home"))
        assert self.wait(self.site.services.intake.submit(given)) == {event.event_id for event in given}
        self.past.update({event.event_id: Past(event) for event in given})

    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """The same id again changes nothing, whatever it says."""
        if self.past:
            past = self.past[data.draw(st.sampled_from(sorted(self.past)))]
            again = replace(past.event, item_id="other", type="purchase")
            assert self.wait(self.site.services.intake.submit([again])) == set()

    @rule(data=st.data())
    def retract(self, data: st.DataObject) -> None:
        if self.past:
            event_id = data.draw(st.sampled_from(sorted(self.past)))
            past = self.past[event_id]
            assert self.wait(self.site.services.intake.retract(event_id)) is not past.is_retracted
            self.past[event_id] = replace(past, is_retracted=True)

    @rule(user_id=st.sampled_from(USERS), text=st.sampled_from(("I fish", "I bake")), train=st.booleans())
    def describe(self, user_id: str, text: str, train: bool) -> None:
        user = User(user_id, text, consent=Consent(train=train))
        self.wait(self.site.services.catalogue.upsert_users([user]))
        self.wait(self.site.services.live_state.forget(user_id=user_id))
        self.profiles[user_id] = user

    @rule(guest=st.sampled_from((*USERS, *SESSIONS)), user_id=st.sampled_from(USERS))
    def merge(self, guest: str, user_id: str) -> None:
        merger = self.site.services.merger
        if guest == user_id:
            with pytest.raises(Invalid):
                self.wait(merger.merge(Guest(user_id=guest), user_id))
            return
        moved = [past for past in self.past.values() if is_of(past.event, guest)]
        source = Guest(user_id=guest) if guest in USERS else Guest(session_id=guest)
        assert self.wait(merger.merge(source, user_id)).events == len(moved)
        for past in moved:
            self.past[past.event.event_id] = replace(past, event=replace(past.event, user_id=user_id))
        if guest in self.profiles:
            self.profiles[user_id] = merged(self.profiles.get(user_id), self.profiles.pop(guest), user_id)

    @rule(user_id=st.sampled_from(USERS))
    def erase(self, user_id: str) -> None:
        erased = self.wait(self.site.services.eraser.erase(user_id))
        sole = {
            session
            for session in SESSIONS
            if {past.event.user_id for past in self.past.values() if past.event.session_id == session} - {None}
            == {user_id}
        }
        gone = [
            event_id
            for event_id, past in self.past.items()
            if past.event.user_id == user_id or (past.event.user_id is None and past.event.session_id in sole)
        ]
        assert (erased.events if erased else 0) == len(gone)
        assert (erased is not None and erased.profile) is (user_id in self.profiles)
        for event_id in gone:
            del self.past[event_id]
        self.profiles.pop(user_id, None)

    @invariant()
    def the_store_says_so(self) -> None:
        stored = self.wait(
            rows(self.site.engine, events.c.event_id, events.c.user_id, events.c.session_id, events.c.item_id, events.c.retracted_at)
        )  # fmt: skip
        assert {row[:4]: row[4] is not None for row in stored} == {
            (past.event.event_id, past.event.user_id, past.event.session_id, past.event.item_id): past.is_retracted
            for past in self.past.values()
        }
        described = self.wait(rows(self.site.engine, users.c.user_id, users.c.text, users.c.train, users.c.described))
        assert {row[:3] for row in described if row[3]} == {
            (user.user_id, user.text, user.consent.train) for user in self.profiles.values()
        }

    @invariant()
    def the_live_state_says_so(self) -> None:
        for user_id, session_id in [*((name, None) for name in USERS), *((None, name) for name in SESSIONS)]:
            state = self.wait(self.site.services.live_state.read(user_id, session_id))
            expected = self.expected(user_id, session_id)
            assert [entry.event_id for entry in state.history] == [event.event_id for event in expected]
            assert dict(state.purchased) == latest(expected, "purchase")
            assert dict(state.dismissed) == disliked(expected)
            assert (state.profile and state.profile.text) == (
                self.profiles[user_id].text if user_id in self.profiles else None
            )

    def expected(self, user_id: str | None, session_id: str | None) -> list[Event]:
        """Oldest first."""
        whose = [
            past.event
            for past in self.past.values()
            if not past.is_retracted
            and (past.event.user_id == user_id if user_id else past.event.session_id == session_id)
        ]
        return sorted(whose, key=lambda event: event.occurred_at)


def is_of(event: Event, guest: str) -> bool:
    return event.user_id == guest if guest in USERS else event.session_id == guest and event.user_id is None


def merged(account: User | None, guest: User, user_id: str) -> User:
    if account is None:
        return replace(guest, user_id=user_id)
    return replace(account, consent=Consent(train=account.consent.train and guest.consent.train))


def latest(past: list[Event], kind: str) -> dict[str, float]:
    return {event.item_id: event.occurred_at.timestamp() for event in past if event.type == kind}


def disliked(past: list[Event]) -> dict[str, float]:
    """A later like ends a dislike."""
    liked = latest(past, "like")
    return {item_id: at for item_id, at in latest(past, "dislike").items() if at > liked.get(item_id, 0.0)}


async def empty(site: Site) -> None:
    async with begin(site.engine) as connection:
        await connection.execute(text("TRUNCATE events, users, impressions, unapplied_groups, erasures"))
    with redis.Redis.from_url(site.redis_url) as client:
        states = [*client.scan_iter("duoscene:[us]?:*")]
        if states:
            client.delete(*states)


def test_store_and_live_state_are_what_a_model_of_them_is(servers: Servers, template_database: str) -> None:
    database = f"duoscene_states_{uuid.uuid4().hex[:12]}"
    run_sql(servers.database_url, f'CREATE DATABASE "{database}" TEMPLATE "{template_database}"')
    loop, folder = asyncio.new_event_loop(), Path(tempfile.mkdtemp(prefix="duoscene-states-"))
    server: Redis = start_redis(folder / "redis")
    stack = AsyncExitStack()
    try:
        database_url = database_named(servers.database_url, database)
        EventStates.loop = loop
        EventStates.site = loop.run_until_complete(
            stack.enter_async_context(open_site(database_url, server.url, folder))
        )
        limits = settings(
            max_examples=12, stateful_step_count=25, deadline=None, derandomize=True, database=None, phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        run_state_machine_as_test(EventStates, settings=limits)
    finally:
        loop.run_until_complete(stack.aclose())
        loop.close()
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
        run_sql(servers.database_url, f'DROP DATABASE "{database}" WITH (FORCE)')
