"""States read together are those read alone, and a Redis that stalls is asked again as soon as it answers."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.catalogue.item import User
from app.embedded.redis import start_redis
from app.feedback.event import Event, Impression
from app.privacy.encryption import PLAIN
from app.stores.postgres.catalogue import PostgresCatalogue
from app.stores.postgres.events import PostgresEvents
from app.stores.postgres.revisions import PostgresRevisions
from app.stores.postgres.subjects import PostgresSubjects
from app.stores.redis import reading
from app.stores.redis.client import Server
from app.stores.redis.live_state import RedisLiveState
from app.stores.redis.packing import unpack
from app.stores.redis.reading import StateReader
from app.stores.redis.subject import Subject, subjects
from app.types import utc_now

START = utc_now() - timedelta(hours=2)
USERS = [f"u{n}" for n in range(100)]
KEEN = User("u3", "likes “tea”, \\ and 茶", created_at=START)


@pytest.fixture
async def live(engine: AsyncEngine, redis_url: str) -> AsyncIterator[RedisLiveState]:
    """Every tenth shopper has no state in Redis; the others differ in what they did, saw and bought."""
    events, catalogue = PostgresEvents(engine), PostgresCatalogue(engine)
    live = RedisLiveState(
        redis_url, events=events, subjects=PostgresSubjects(engine), revisions=PostgresRevisions(engine)
    )
    await live.start()
    await live.settle()
    await catalogue.upsert_users([KEEN])
    await events.append([
        Event(f"e{n}-{k}", "purchase" if k == 0 else "dislike" if k == 1 else "click", f'i"{k},\\茶', START + timedelta(minutes=k), user_id=user)
        for n, user in enumerate(USERS)
        for k in range(n % 7)
    ])  # fmt: skip
    for user in USERS:
        while (await live.read(user, None)).degraded:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    shown = Impression(
        "r1", "home", "m", utc_now(), ("i-1", "i-2"), (1.0, 1.0), (1.0, 1.0), user_id="u5", session_id=None
    )
    await live.shown([shown])
    for user in USERS[::10]:
        assert await live.forget(user_id=user)
    yield live
    await live.close()


async def test_states_read_at_once_are_those_read_alone(live: RedisLiveState) -> None:
    pairs = [subjects(user, f"s-{user}" if n % 3 else None) for n, user in enumerate(USERS)]
    alone = [await live._reader.read(wanted) for wanted in pairs]
    together = await asyncio.gather(*(live._reader.read(wanted) for wanted in pairs))
    assert together == alone
    states = {subject.name: held.state for wanted, one in zip(pairs, alone, strict=True) for subject, held in zip(wanted, one.held, strict=True)}  # fmt: skip
    assert states["u0"] is None
    held = {name: unpack(state, utc_now(), PLAIN).part for name, state in states.items() if state is not None}
    assert [entry.item_id for entry in held["u6"].history] == [f'i"{k},\\茶' for k in range(6)]
    assert (list(held["u6"].purchased), list(held["u6"].dismissed)) == (['i"0,\\茶'], ['i"1,\\茶'])
    assert held["u5"].seen.keys() == {"i-1", "i-2"}
    assert held["u3"].profile == KEEN


async def test_many_readers_share_few_round_trips(live: RedisLiveState, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    ask = StateReader._ask

    async def counted(self: StateReader, batch: list[reading.Reading]) -> list[reading.Answer]:
        asked.append(len(batch))
        return await ask(self, batch)

    monkeypatch.setattr(StateReader, "_ask", counted)
    await asyncio.gather(*(live._reader.read([Subject("u", user)]) for user in USERS))
    assert asked == [reading.MAX_SUBJECTS, len(USERS) - reading.MAX_SUBJECTS]


async def test_a_stall_is_over_with_the_late_answer(tmp_path: Path) -> None:
    server_process = start_redis(tmp_path)
    server = Server(server_process.url, timeout_seconds=10.0)
    reader = StateReader(server, "duoscene", "duoscene:valid:2")
    try:
        assert await reader.read([Subject("u", "u1")]) is not None
        os.kill(server_process.pid, signal.SIGSTOP)
        stalled = [asyncio.create_task(reader.read([Subject("u", f"u{n}")])) for n in range(100)]
        assert await asyncio.gather(*stalled) == [None] * 100
        assert not server.may_be_asked()
        server._resting_until += 60.0  # nothing but the answer ends it now
        os.kill(server_process.pid, signal.SIGCONT)
        while not server.may_be_asked():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        assert await reader.read([Subject("u", "u1")]) is not None
    finally:
        os.kill(server_process.pid, signal.SIGCONT)
        await server.close()
        server_process.stop()
