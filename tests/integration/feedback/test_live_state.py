"""The live state follows the stored events, whatever happens to Redis."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy.ext.asyncio import AsyncEngine
from ulid import ULID

from app.catalogue.item import Consent, Item, User
from app.embedded.redis import Redis, start_redis
from app.errors import Unavailable
from app.feedback.event import Event, Impression
from app.feedback.intake import FeedbackIntake
from app.feedback.seen import MAX_SEEN
from app.feedback.state import MAX_HISTORY, Exposure, Part, UserState
from app.stores.postgres.catalogue import PostgresCatalogue
from app.stores.postgres.engine import create_engine
from app.stores.postgres.events import HourCounts, PostgresEvents
from app.stores.postgres.impressions import PostgresImpressions
from app.stores.postgres.revisions import PostgresRevisions
from app.stores.postgres.subjects import PostgresSubjects
from app.stores.redis import live_state, repair
from app.stores.redis.live_state import RedisLiveState
from app.stores.redis.repair import FIRST_RECOUNT_SECONDS
from app.types import utc_now

START = utc_now() - timedelta(hours=2)
USER = User("u1", "likes tea", 41, tags=("a",), attributes={"k": [1]}, consent=Consent(False, True), created_at=START)


def event(event_id: str, minute: float = 0, **more: object) -> Event:
    values: dict[str, object] = {"type": "click", "item_id": f"i-{event_id}", "user_id": "u1"} | more
    return Event(event_id=event_id, occurred_at=START + timedelta(minutes=minute), **values)  # type: ignore[arg-type]


class Shop:
    """Stores over one database, and a live state over one Redis; `send` does what the intake does."""

    def __init__(self, engine: AsyncEngine, redis_url: str) -> None:
        self.events = PostgresEvents(engine)
        self.catalogue = PostgresCatalogue(engine)
        self.shown = PostgresImpressions(engine)
        self.subjects = PostgresSubjects(engine)
        self.live = RedisLiveState(
            redis_url, events=self.events, subjects=self.subjects, revisions=PostgresRevisions(engine)
        )

    async def send(self, *events: Event) -> None:
        await self.events.append(events)
        await self.live.apply(events)

    async def show(self, *impressions: Impression) -> None:
        await self.shown.write(impressions)
        await self.live.shown(impressions)

    async def ids(self, user_id: str | None = "u1", session_id: str | None = None) -> list[str]:
        return [entry.event_id for entry in (await self.live.read(user_id, session_id)).history]


@asynccontextmanager
async def open_shop(engine: AsyncEngine, redis_url: str) -> AsyncIterator[Shop]:
    shop = Shop(engine, redis_url)
    await shop.live.start()
    yield shop
    await shop.live.close()


@pytest.fixture
async def shop(engine: AsyncEngine, redis_url: str) -> AsyncIterator[Shop]:
    async with open_shop(engine, redis_url) as shop:
        await is_kept(shop, redis_url)
        yield shop


async def is_kept(shop: Shop, redis_url: str) -> None:
    """Wait until states are kept in Redis, i.e. until a repair is over."""

    async def probe() -> bool:
        await shop.live.read("probe", None)
        with redis.Redis.from_url(redis_url) as client:
            return bool(client.exists("duoscene:u2:probe"))

    await until(probe)
    with redis.Redis.from_url(redis_url) as client:
        client.delete("duoscene:u2:probe")


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(500):
        if await condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the condition was not met within 10 s")


async def test_nobody_has_an_empty_state(shop: Shop) -> None:
    assert await shop.live.read(None, None) == UserState()
    assert await shop.live.read("stranger", "s") == UserState()


async def test_a_state_is_built_from_postgres_and_kept_up_by_writers(shop: Shop) -> None:
    await shop.events.append([event("1"), event("2", 1, type="purchase", item_id="tea")])
    await shop.catalogue.upsert_users([USER])
    state = await shop.live.read("u1", None)
    assert [entry.event_id for entry in state.history] == ["1", "2"]
    assert state.purchased == {"tea": event("2", 1).occurred_at.timestamp()}
    assert state.profile == USER
    await shop.send(event("3", 2), event("4", 0.5, type="purchase", item_id="tea"), event("5", 3, type="impression"))
    warm = await shop.live.read("u1", None)
    assert [entry.event_id for entry in warm.history] == ["1", "4", "2", "3"]
    assert (warm.purchased, warm.profile, warm.degraded) == (state.purchased, USER, ())
    await shop.live.forget(user_id="u1")
    rebuilt = await shop.live.read("u1", None)
    assert rebuilt == replace(warm, seen=rebuilt.seen)
    assert rebuilt.seen == pytest.approx(warm.seen, rel=1e-3)


async def test_a_profile_whose_writer_died_is_found_and_brought_to_the_live_state(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.catalogue.upsert_users([USER, User("u2")])
    refused = Consent(personalize=False)
    for user_id in ("u1", "u2"):
        await shop.live.read(user_id, None)
    await shop.catalogue.upsert_users([replace(USER, consent=refused)])
    await shop.catalogue.update_user("u2", lambda user: replace(user, consent=refused))
    monkeypatch.setattr(repair, "LEFT_BEHIND", timedelta(0))
    shop.live._repair._next_sweep = 0.0
    shop.live._repair._wanted.set()

    async def both_are_known() -> bool:
        profiles = [(await shop.live.read(user_id, None)).profile for user_id in ("u1", "u2")]
        return [profile and profile.consent for profile in profiles] == [refused, refused]

    await until(both_are_known)


async def test_many_users_are_forgotten_at_once(shop: Shop, redis_url: str) -> None:
    for user_id in ("u1", "u2", "u3"):
        await shop.live.read(user_id, None)
    assert await shop.live.forget_users(["u1", "u2"])
    with redis.Redis.from_url(redis_url) as client:
        assert [client.exists(f"duoscene:u2:{user_id}") for user_id in ("u1", "u2", "u3")] == [0, 0, 1]


async def test_a_warm_read_asks_postgres_nothing(shop: Shop, engine: AsyncEngine) -> None:
    await shop.send(event("1"))
    assert await shop.ids() == ["1"]
    await engine.dispose()
    shop.live._events = shop.live._catalogue = shop.live._revisions = None  # type: ignore[assignment]
    assert await shop.ids() == ["1"]


async def test_a_user_and_a_session_are_merged(shop: Shop) -> None:
    await shop.send(event("u", 1), event("s", 2, user_id=None, session_id="s1"), event("both", 3, session_id="s1"))
    for _ in ("cold", "warm"):
        assert await shop.ids("u1", "s1") == ["u", "s", "both"]
        assert await shop.ids(None, "s1") == ["s", "both"]
    await shop.send(event("more", 4, session_id="s1"))
    assert await shop.ids("u1", "s1") == ["u", "s", "both", "more"]


async def test_odd_ids_are_kept_apart(shop: Shop) -> None:
    for user_id in ("a:b", "a", "茶 💡", "*", "{x}"):
        await shop.send(event(f"e{user_id}", user_id=user_id, item_id='{"x"}'))
        assert await shop.ids(user_id) == [f"e{user_id}"]
    await shop.live.forget(user_id="*")
    assert await shop.ids("a") == ["ea"]


async def test_history_is_bounded_to_the_newest(shop: Shop) -> None:
    await shop.send(event("first", -1))
    await shop.ids()
    await shop.send(*(event(f"{n:03}", n / 60) for n in range(MAX_HISTORY + 20)))
    ids = await shop.ids()
    assert (len(ids), ids[0], ids[-1]) == (MAX_HISTORY, "020", "119")
    await shop.live.forget(user_id="u1")
    assert await shop.ids() == ids


async def test_an_event_during_a_rebuild_is_not_lost(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The builder reads Postgres, then the event comes, then the builder wants to keep what it read."""
    await shop.events.append([event("1")])
    real = shop.subjects.parts_of
    sent = False

    async def event_comes_between(*arguments: Any) -> list[Part | Unavailable]:
        nonlocal sent
        parts = await real(*arguments)
        if not sent:
            sent = True
            await shop.send(event("2", 1))
        return parts

    monkeypatch.setattr(shop.subjects, "parts_of", event_comes_between)
    assert await shop.ids() == ["1"]
    assert sent
    assert await shop.ids() == ["1", "2"]


async def test_reads_and_writes_at_once_end_in_the_truth(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_state, "POSTGRES_SECONDS", 30.0)  # on a busy machine as well

    async def write(n: int) -> None:
        await shop.send(event(f"{n:02}", n))
        assert f"{n:02}" in await shop.ids()

    async def read() -> None:
        for _ in range(30):
            await shop.ids()
            await shop.live.forget(user_id="u1")

    await asyncio.gather(*(write(n) for n in range(40)), read())
    assert await shop.ids() == [f"{n:02}" for n in range(40)]


async def test_a_changed_profile_is_seen_after_forget(shop: Shop) -> None:
    assert (await shop.live.read("u1", None)).profile is None
    await shop.catalogue.upsert_users([USER])
    await shop.live.forget(user_id="u1")
    assert (await shop.live.read("u1", None)).profile == USER


async def test_the_catalogue_revision_only_rises(shop: Shop) -> None:
    await shop.live.announce_catalogue(7)
    await shop.live.announce_catalogue(5)
    assert (await shop.live.read(None, None)).catalogue_revision == 7


async def test_the_catalogue_revision_of_before_a_restore_is_forgotten(shop: Shop, redis_url: str) -> None:
    """Otherwise nobody would catch up with a catalogue that counts from further back."""
    revision = await shop.catalogue.upsert_items([Item("a")])
    await shop.live.announce_catalogue(revision + 1_000)
    await shop.live.forget_everybody()
    await is_kept(shop, redis_url)
    assert (await shop.live.read("probe", None)).catalogue_revision == revision


def slate(minute: float, *item_ids: str, **more: object) -> Impression:
    shown_at = START + timedelta(minutes=minute)
    values: dict[str, object] = {"user_id": "u1", "recommendation_id": str(ULID.from_datetime(shown_at))} | more
    ones = (1.0,) * len(item_ids)
    return Impression(
        scenario="home",
        model_version="v1",
        shown_at=shown_at,
        item_ids=item_ids,
        scores=ones,
        propensities=ones,
        **values,
    )  # type: ignore[arg-type]


async def seen(shop: Shop, user_id: str | None = "u1", session_id: str | None = None) -> dict[str, float]:
    return {item: round(n, 1) for item, n in (await shop.live.read(user_id, session_id)).seen.items()}


async def both_ways(shop: Shop, read: Callable[[Shop], Awaitable[object]]) -> object:
    """What writers kept up, which must be what a rebuild from Postgres finds."""
    kept = await read(shop)
    await shop.live.forget(user_id="u1")
    await shop.live.forget(session_id="s1")
    assert await read(shop) == kept
    return kept


async def test_what_was_shown_is_counted_until_it_is_clicked(shop: Shop) -> None:
    assert await seen(shop) == {}
    await shop.show(slate(0, "a", "b"), slate(1, "a", user_id=None, session_id="s1"), slate(2, "c", user_id="u2"))
    await shop.show(slate(3, "a", "d", session_id="s1"))
    assert await both_ways(shop, seen) == {"a": 2.0, "b": 1.0, "d": 1.0}
    assert await both_ways(shop, lambda shop: seen(shop, "u1", "s1")) == {"a": 2.0, "b": 1.0, "d": 1.0}
    await shop.send(event("1", 4, item_id="a"), event("2", 4, item_id="b", type="dislike"))
    assert await both_ways(shop, seen) == {"b": 1.0, "d": 1.0}
    await shop.show(slate(5, "a"))
    assert await both_ways(shop, seen) == {"a": 1.0, "b": 1.0, "d": 1.0}


async def test_showings_fade_by_half_in_a_week(shop: Shop) -> None:
    await seen(shop)
    week = 7 * 24 * 60
    await shop.show(slate(-week, "a"), slate(-2 * week, "a"), slate(0, "a", "b"))
    assert await both_ways(shop, seen) == {"a": pytest.approx(1.7, abs=0.06), "b": 1.0}


async def test_a_storefronts_word_counts_unless_it_repeats_the_slate(shop: Shop) -> None:
    await seen(shop)
    shown = slate(0, "a")
    await shop.show(shown)
    of_it = {"type": "impression", "item_id": "a", "recommendation_id": shown.recommendation_id}
    await shop.send(event("same", 1, **of_it))
    assert await both_ways(shop, seen) == {"a": 1.0}
    theirs = {"own": "own id", "far": "7" + 25 * "Z"}  # the second could be ours, of the year 10889
    await shop.send(
        event("again", 30, **of_it),
        *(event(name, 31, type="impression", item_id="b", recommendation_id=given) for name, given in theirs.items()),
    )
    assert await both_ways(shop, seen) == {"a": 2.0, "b": 2.0}


async def test_seen_items_are_bounded_to_those_seen_most(shop: Shop) -> None:
    await seen(shop)
    many = tuple(f"i{n}" for n in range(150))
    for part in range(4):
        await shop.show(slate(part, *(f"{part}-{item}" for item in many)), slate(part, "often"))
    counts = await seen(shop)
    assert (len(counts), counts["often"]) == (MAX_SEEN, 4.0)
    await shop.live.forget(user_id="u1")
    assert (len(await seen(shop)), (await seen(shop))["often"]) == (MAX_SEEN, 4.0)


async def dismissed(shop: Shop) -> list[str]:
    return sorted((await shop.live.read("u1", None)).dismissed)


async def test_a_dislike_stands_until_it_is_retracted_or_followed_by_a_liking(shop: Shop) -> None:
    assert await dismissed(shop) == []
    await shop.send(
        event("1", 1, item_id="a", type="dislike"), event("2", 1, item_id="b", type="rating", value=1.0),
        event("3", 1, item_id="c", type="rating", value=5.0), event("4", 1, item_id="d", type="dislike"),
        event("5", 2, item_id="d", type="click"), event("6", 1, item_id="e", type="dislike"),
    )  # fmt: skip
    assert await both_ways(shop, dismissed) == ["a", "b", "d", "e"]
    await shop.send(event("7", 3, item_id="d", type="like"), event("8", 0, item_id="e", type="like"))
    assert await both_ways(shop, dismissed) == ["a", "b", "e"]
    intake = FeedbackIntake(shop.events, shop.live)
    assert await intake.retract("1")
    assert await both_ways(shop, dismissed) == ["b", "e"]


async def test_a_dislike_that_comes_after_a_later_liking_is_over_already(shop: Shop) -> None:
    assert await dismissed(shop) == []
    await shop.send(event("1", 5, item_id="a", type="like"), event("2", 5, item_id="b", type="rating", value=5.0))
    await shop.send(event("3", 4, item_id="a", type="dislike"), event("4", 4, item_id="b", type="dislike"))
    await shop.send(event("5", 6, item_id="b", type="dislike"), event("6", 4, item_id="c", type="dislike"))
    assert await both_ways(shop, dismissed) == ["b", "c"]


async def test_purchases_are_known_as_long_as_a_scenario_may_ask_and_dislikes_however_old(shop: Shop) -> None:
    day = -24 * 60
    await shop.events.append([
        event("1", 400 * day, item_id="a", type="purchase"), event("2", 3_640 * day, item_id="b", type="purchase"),
        event("3", 3_660 * day, item_id="c", type="purchase"), event("4", 5_000 * day, item_id="d", type="dislike"),
    ])  # fmt: skip
    state = await shop.live.read("u1", None)
    assert (state.purchased.keys(), state.dismissed.keys()) == ({"a", "b"}, {"d"})


async def test_exposures_of_all_shoppers_are_counted_and_rebuilt(shop: Shop, redis_url: str) -> None:
    await shop.show(slate(0, "a", "b"), slate(1, "a", user_id=None))
    await shop.send(event("1", 2, item_id="a"), event("2", 2, item_id="a", type="purchase"))
    wanted = {"a": Exposure(2.0, 1.0), "b": Exposure(1.0, 0.0)}
    assert await shop.live.exposures(["a", "b", "never"]) == wanted
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    await is_kept(shop, redis_url)
    await until(lambda: has_exposures(shop, wanted))


async def has_exposures(shop: Shop, wanted: dict[str, Exposure]) -> bool:
    return await shop.live.exposures(["a", "b", "never"]) == wanted


async def has_trends(shop: Shop, *item_ids: str) -> bool:
    return {item for item, _ in await shop.live.trending(None, 9)} == {*item_ids}


async def test_trends_are_weighed_and_split_by_scenario(shop: Shop) -> None:
    await shop.send(
        event("1", item_id="a", scenario="home"),
        event("2", item_id="b", scenario="home", type="purchase"), event("3", item_id="c", scenario="cart"),
        event("4", item_id="d", type="dislike"), event("5", item_id="e", scenario="*"),
    )  # fmt: skip
    assert [item for item, _ in await shop.live.trending("home", 9)] == ["b", "a"]
    everywhere = await shop.live.trending(None, 9)
    assert everywhere[0][0] == "b"
    assert {item for item, _ in everywhere} == {"a", "b", "c", "e"}
    assert everywhere[0][1] == pytest.approx(3 * everywhere[1][1])
    assert [item for item, _ in await shop.live.trending("*", 9)] == ["e"]
    assert len(await shop.live.trending(None, 1)) == 1


async def test_older_events_weigh_less(shop: Shop) -> None:
    await shop.send(*(event(str(age), -60 * age, item_id=f"{age} h") for age in (0, 6, 12, 30)))
    scores = dict(await shop.live.trending(None, 9))
    assert scores.keys() == {"0 h", "6 h", "12 h"}
    assert scores["6 h"] == pytest.approx(scores["0 h"] / 2)
    assert scores["12 h"] == pytest.approx(scores["0 h"] / 4)


async def test_an_emptied_redis_is_filled_again(shop: Shop, redis_url: str) -> None:
    await shop.send(event("1", item_id="a", scenario="home"))
    await shop.ids()
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    assert await shop.ids() == ["1"]
    await is_kept(shop, redis_url)
    assert await shop.ids() == ["1"]
    await until(lambda: has_trends(shop, "a"))
    assert [item for item, _ in await shop.live.trending("home", 9)] == ["a"]


async def test_events_written_past_the_intake_are_seen_after_forget_everybody(shop: Shop, redis_url: str) -> None:
    assert await shop.ids() == []
    await shop.events.append([event("imported", item_id="a")])
    assert await shop.ids() == []
    await shop.live.forget_everybody()
    assert await shop.ids() == ["imported"]
    await is_kept(shop, redis_url)
    await until(lambda: has_trends(shop, "a"))


async def test_states_do_not_wait_for_a_count_that_takes_too_long(
    engine: AsyncEngine, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, num_tries = Shop(engine, redis_url), 0
    real = shop.events.counts_by_hour

    async def times_out(since: object) -> object:
        nonlocal num_tries
        num_tries += 1
        raise Unavailable("a statement over 30 s")

    monkeypatch.setattr(shop.events, "counts_by_hour", times_out)
    await shop.show(slate(0, "a"))
    await shop.send(event("1", item_id="a"))
    await shop.live.start()
    try:
        await is_kept(shop, redis_url)
        assert (await shop.live.read("u1", None)).degraded == ()
        await until(lambda: has_exposures(shop, {"a": Exposure(1.0, 1.0)}))

        async def is_tried_again() -> bool:
            return num_tries > 1

        await until(is_tried_again)
        assert shop.live._repair._count_seconds > FIRST_RECOUNT_SECONDS
        monkeypatch.setattr(shop.events, "counts_by_hour", real)
        await until(lambda: has_trends(shop, "a"))
    finally:
        await shop.live.close()


async def test_a_shop_that_never_pauses_is_not_counted_for_ever(
    shop: Shop, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair, "SWEEP_SECONDS", 0.3)
    monkeypatch.setattr(repair, "FIRST_RECOUNT_SECONDS", 0.0)
    client = redis.Redis.from_url(redis_url, decode_responses=True)

    async def is_sure() -> bool:
        return not client.exists("duoscene:unsure-trends")

    await until(is_sure)
    real, num_counts, is_busy = shop.events.counts_by_hour, 0, True

    async def busy(since: datetime) -> HourCounts:
        nonlocal num_counts
        num_counts += 1
        if is_busy:
            await shop.send(event(f"count {num_counts}", item_id="a"))
        return await real(since)

    monkeypatch.setattr(shop.events, "counts_by_hour", busy)
    await shop.live.recount_trends()
    for n in range(150):
        await shop.send(event(f"{n}", item_id="a"))
        await asyncio.sleep(0.02)
        shop.live._repair._wanted.set()
    assert repair.MAX_INEXACT <= num_counts < 2 * repair.MAX_INEXACT
    is_busy = False
    await until(is_sure)
    client.close()


class OwnRedis:
    """A Redis of one test's own, to be killed and started again."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.server: Redis = start_redis(data_dir)
        self.url = self.server.url

    def kill(self) -> None:
        os.kill(self.server.pid, signal.SIGKILL)
        assert self.server.process is not None
        self.server.process.wait()

    def freeze(self) -> None:
        os.kill(self.server.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.server.pid, signal.SIGCONT)

    def start(self) -> None:
        self.server = start_redis(self.data_dir)


@pytest.fixture
def own_redis() -> Iterator[OwnRedis]:
    data_dir = Path(tempfile.mkdtemp(prefix="duoscene-redis-"))
    server = OwnRedis(data_dir)
    yield server
    server.server.stop()
    shutil.rmtree(data_dir, ignore_errors=True)


async def test_a_killed_redis_costs_nothing_but_time(engine: AsyncEngine, own_redis: OwnRedis) -> None:
    async with open_shop(engine, own_redis.url) as shop:
        await is_kept(shop, own_redis.url)
        await shop.catalogue.upsert_users([USER])
        await shop.send(event("1", item_id="a"))
        assert await shop.ids() == ["1"]
        own_redis.kill()
        await shop.send(event("2", 1, item_id="b"))
        await shop.live.announce_catalogue(99)
        await shop.live.forget(user_id="u2")
        state = await shop.live.read("u1", "s1")
        assert [entry.event_id for entry in state.history] == ["1", "2"]
        assert (state.profile, state.degraded, state.catalogue_revision) == (USER, ("user_state",), 0)
        assert await shop.live.trending(None, 5) == []
        assert await shop.live.is_reachable() is False
        own_redis.start()
        await is_kept(shop, own_redis.url)
        assert await shop.ids() == ["1", "2"]
        await until(lambda: has_trends(shop, "a", "b"))


async def test_a_redis_restarted_with_old_states_is_not_believed(engine: AsyncEngine, own_redis: OwnRedis) -> None:
    """Another process wrote while it was down, and this one has missed nothing of its own."""
    async with open_shop(engine, own_redis.url) as shop:
        await is_kept(shop, own_redis.url)
        await shop.send(event("1"))
        assert await shop.ids() == ["1"]
        own_redis.server.stop()
        await shop.events.append([event("2", 1)])
        own_redis.start()
        assert await shop.ids() == ["1", "2"]
        await is_kept(shop, own_redis.url)
        assert await shop.ids() == ["1", "2"]


async def test_a_state_that_was_built_across_a_restart_of_redis_is_not_kept(
    engine: AsyncEngine, own_redis: OwnRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The builder reads Postgres, an event comes, the server that knows of it dies and another is right again, then the builder wants to keep
    what it read."""
    async with open_shop(engine, own_redis.url) as shop, open_shop(engine, own_redis.url) as other:
        await is_kept(shop, own_redis.url)
        await shop.events.append([event("1")])
        real = shop.subjects.parts_of
        restarted = False

        async def restart_comes_between(*arguments: Any) -> list[Part | Unavailable]:
            nonlocal restarted
            parts = await real(*arguments)
            if not restarted:
                restarted = True
                await other.send(event("2", 1))
                own_redis.kill()
                own_redis.start()
                await is_kept(other, own_redis.url)
            return parts

        monkeypatch.setattr(shop.subjects, "parts_of", restart_comes_between)
        assert await shop.ids() == ["1"]
        assert restarted
        assert await other.ids() == ["1", "2"]
        assert await shop.ids() == ["1", "2"]


async def test_a_hung_redis_holds_nobody_and_what_it_missed_is_rebuilt(
    engine: AsyncEngine, own_redis: OwnRedis
) -> None:
    async with open_shop(engine, own_redis.url) as shop:
        await is_kept(shop, own_redis.url)
        await shop.send(event("1"))
        assert await shop.ids() == ["1"]
        own_redis.freeze()
        try:
            async with asyncio.timeout(0.5):
                assert await shop.ids() == ["1"]
            await shop.send(event("2", 1))
            assert await shop.ids() == ["1", "2"]
        finally:
            own_redis.thaw()
        await is_kept(shop, own_redis.url)
        assert await shop.ids() == ["1", "2"]


async def test_without_both_the_state_is_empty_and_degraded(own_redis: OwnRedis) -> None:
    engine = create_engine("postgresql://nobody@127.0.0.1:1/none")
    async with open_shop(engine, own_redis.url) as shop:
        own_redis.kill()
        state = await shop.live.read("u1", "s1")
        assert state == UserState(degraded=("user_state",))
    await engine.dispose()
