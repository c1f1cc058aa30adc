"""An erased user is gone from everything that is held, stays gone, and starts from nothing."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from app.catalogue.item import Item, User
from app.embedded.redis import start_redis
from app.encoding.encoder import Encoder
from app.errors import Unavailable
from app.feedback.event import Event, Impression
from app.feedback.merging import Guest
from app.learning.preparation import digest
from app.privacy.erasure import hashes_of
from app.release.version import ModelVersion
from app.serving.slate import SlateRequest
from app.stores.postgres.engine import begin
from app.stores.postgres.erasing import IN_ORDER, PostgresErasure
from app.stores.postgres.impressions import PostgresImpressions
from app.stores.postgres.shop_data import PostgresShopData
from app.stores.postgres.tables import erasures, events, impressions, text_vectors, users
from app.stores.postgres.text_vectors import PostgresTextVectors
from app.stores.redis import repair
from app.stores.redis.bridge import RedisBridge
from app.types import no_progress, utc_now
from tests.integration.feedback.test_intake import allow_connections
from tests.integration.privacy.conftest import DONE, Site, open_site, until
from tests.integration.privacy.holdings import keys_with, rows, tables_with
from tests.integration.privacy.test_consent import Learner
from tests.unit.learning.builders import shop

WHO, VISIT = "erika-mustermann", "visit-of-erika"
ITEM, WORDS = "lavender-soap", "I collect porcelain owls"
PURCHASED = {"type": "purchase", "item_id": "an-owl"}


async def live(site: Site) -> None:
    """A customer's life with the shop, everything that can be held of her."""
    catalogue, recommender = site.services.catalogue, site.services.recommender
    revision = await catalogue.upsert_items([Item(f"sku-{n}", f"Owl {n}") for n in range(30)])
    await site.services.live_state.announce_catalogue(revision)
    await until(lambda: is_stocked(site))  # shown to nobody
    await catalogue.upsert_users([User(WHO, WORDS)])
    await site.post("before-login", None, VISIT)
    await site.post("e1", WHO, VISIT, context={"query": "owls of porcelain"})
    await site.post("e2", WHO, VISIT, **PURCHASED)
    await site.post("e3", WHO, type="dislike")
    await site.post("e4", WHO, type="impression")
    await site.post("taken-back", WHO)
    await site.services.intake.retract("taken-back")
    await site.post("other", "somebody-else", "another-visit")
    slate = await recommender.recommend(SlateRequest("home", user_id=WHO, session_id=VISIT, n=4), "key")
    assert slate.next_cursor
    await recommender.recommend_next(slate.next_cursor, "key")
    await recommender.recommend(SlateRequest("home", user_id="somebody-else", n=4), "key")
    await until(lambda: shown(site, 4))
    vectors = PostgresTextVectors(site.engine)
    encoder = Encoder()
    await vectors.put_many(
        encoder.key, dict.fromkeys(hashes_of(User(WHO, WORDS), ["owls of porcelain"]), encoder.encode(["x"])[0])
    )
    await vectors.put_many(encoder.key, {b"another text's": encoder.encode(["y"])[0]})


async def is_stocked(site: Site) -> bool:
    return len((await site.services.recommender.recommend(SlateRequest("home", n=1), "key")).items) == 1


async def shown(site: Site, count: int) -> bool:
    return len(await rows(site.engine, impressions.c.recommendation_id)) == count


async def is_held(site: Site) -> bool:
    await site.history(WHO, VISIT)  # a state is kept once it was read
    held = keys_with(site.redis_url, WHO)
    return f"duoscene:u2:{WHO}" in held and bool(keys_with(site.redis_url, ":l:"))


async def test_nothing_is_left_anywhere(site: Site) -> None:
    await live(site)
    assert await site.history(WHO) == ["e1", "e2", "e3"]
    await until(lambda: is_held(site))

    erased = await site.services.eraser.erase(WHO)
    assert erased is not None
    assert (erased.profile, erased.events, erased.impressions, erased.text_vectors) == (True, 6, 2, 2)
    assert (erased.sessions, erased.live_model, erased.pending) == (1, None, ())

    for word in (WHO, VISIT, WORDS, "porcelain", "before-login", "taken-back"):
        assert await tables_with(site.engine, word) <= {*DONE}, word
        # a counter without content, gone after ten minutes, that keeps a state being built right now from being kept
        assert keys_with(site.redis_url, word) <= {f"duoscene:ug:{WHO}", f"duoscene:sg:{VISIT}"}, word
    assert not keys_with(site.redis_url, ":l:"), "lists that went on"
    assert await rows(site.engine, text_vectors.c.hash) == [(b"another text's",)]
    owners = {owner or "" for (owner,) in await rows(site.engine, impressions.c.user_id)}
    alias = next(owner for owner in owners if owner.startswith("erased-"))
    assert owners == {"somebody-else", alias, ""}
    assert {context for (context,) in await rows(site.engine, impressions.c.context)} == {None}
    assert [event_id for (event_id,) in await rows(site.engine, events.c.event_id)] == ["other"]
    assert await site.history("somebody-else") == ["other"]
    assert site.services.recommender.profiles._known == {}


async def test_the_repair_removes_the_notes_and_counts_the_trends_anew(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair, "LEFT_BEHIND", timedelta(0))
    monkeypatch.setattr(repair, "SWEEP_SECONDS", 0.1)
    await site.post("e1", WHO, item_id=ITEM)
    await site.post("e2", "other", item_id="mug")

    async def trending() -> set[str]:
        return set(dict(await site.services.live_state.trending("home", 5)))

    async def is_counted() -> (
        bool
    ):  # with no patience at all, a sweep takes the events for left behind and counts them anew
        return await trending() == {ITEM, "mug"}

    await until(is_counted)
    await site.services.eraser.erase(WHO)

    async def is_settled() -> bool:
        return not await tables_with(site.engine, WHO) and await trending() == {"mug"}

    await until(is_settled)


async def test_the_repair_removes_what_an_erasure_left_in_redis(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process died after the transaction, or Redis went away right then."""
    await live(site)
    await until(lambda: is_held(site))
    bridge = RedisBridge(site.redis_url, max_events=9)
    for event_id, user_id in (("bad", WHO), ("before-login", None)):
        await bridge.refuse(("0-1", Event(event_id, "click", "i1", utc_now(), user_id, VISIT)), "out of range")
    await bridge.close()
    assert await PostgresErasure(site.engine).erase(WHO, hashes_of) is not None
    monkeypatch.setattr(repair, "LEFT_BEHIND", timedelta(0))
    monkeypatch.setattr(repair, "SWEEP_SECONDS", 0.1)
    counters = {f"duoscene:ug:{WHO}", f"duoscene:sg:{VISIT}"}

    async def is_clean() -> bool:
        held = {key for word in (WHO, VISIT, ":l:") for key in keys_with(site.redis_url, word)}
        return held <= counters and not await tables_with(site.engine, WHO)

    await until(is_clean)


async def test_what_comes_later_starts_from_nothing(site: Site) -> None:
    await live(site)
    await site.services.eraser.erase(WHO)
    assert await site.history(WHO) == []
    assert await site.services.catalogue.get_user(WHO) is None
    await site.post("e1", WHO)  # an id of her own past: nobody knows it any more
    state = await site.services.live_state.read(WHO, None)
    assert [entry.event_id for entry in state.history] == ["e1"]
    assert (dict(state.purchased), dict(state.dismissed), state.profile) == ({}, {}, None)
    again = await site.services.eraser.erase(WHO)
    assert again is not None
    assert (again.profile, again.events, again.impressions) == (False, 1, 0)
    assert await site.services.eraser.erase(WHO) is None, "nothing is held"


async def test_a_session_of_several_keeps_what_nobody_claims(site: Site) -> None:
    """On a shared tablet the unrecognised events may be anybody's."""
    await site.post("mine", "u1", "tablet")
    await site.post("yours", "u2", "tablet")
    await site.post("whose", None, "tablet")
    erased = await site.services.eraser.erase("u1")
    assert erased is not None
    assert erased.events == 1
    assert await site.history(None, "tablet") == ["yours", "whose"]


async def test_a_merged_guest_goes_with_the_account(site: Site) -> None:
    await site.post("as-guest", "guest-1")
    await site.post("as-visitor", None, "s1")
    await site.services.merger.merge(Guest("guest-1"), WHO)
    await site.services.merger.merge(Guest(session_id="s1"), WHO)
    erased = await site.services.eraser.erase(WHO)
    assert erased is not None
    assert erased.events == 2
    assert await rows(site.engine, events.c.event_id) == []
    assert await site.history(None, "s1") == []
    assert await rows(site.engine, users.c.user_id) == []


async def test_an_impression_on_its_way_comes_in_without_its_user(site: Site) -> None:
    await site.post("e1", WHO)
    before = utc_now()
    await site.services.eraser.erase(WHO)
    late = Impression("late", "home", "v", before, ("i",), (1.0,), (1.0,), WHO, VISIT, context={"said": WORDS})
    await PostgresImpressions(site.engine).write(
        [late, Impression("new", "home", "v", utc_now() + timedelta(seconds=1), ("i",), (1.0,), (1.0,), WHO)]
    )
    found = {
        name: (user_id, session_id, context)
        for name, user_id, session_id, context in await rows(
            site.engine, impressions.c.recommendation_id, impressions.c.user_id, impressions.c.session_id, impressions.c.context
        )
    }  # fmt: skip
    assert found["late"][0].startswith("erased-")
    assert found["late"][1:] == (None, None)
    assert found["new"][0] == WHO


async def test_events_that_wait_in_the_bridge_are_waited_for(site: Site, database_url: str) -> None:
    await site.post("e1", WHO)
    await allow_connections(database_url, False)
    await site.post("e2", WHO)
    with pytest.raises(Unavailable):
        await site.services.eraser.erase(WHO)
    await allow_connections(database_url, True)
    erased = await site.services.eraser.erase(WHO)
    assert erased is not None
    assert erased.events == 2
    assert not keys_with(site.redis_url, '"e2"')


async def test_without_redis_nothing_is_erased(database_url: str, tmp_path: Path) -> None:
    server = start_redis(tmp_path / "redis")
    try:
        async with open_site(database_url, server.url, tmp_path) as site:
            await site.post("e1", WHO)
            server.stop()
            with pytest.raises(Unavailable, match="Redis"):
                await site.services.eraser.erase(WHO)
            assert await rows(site.engine, events.c.event_id) == [("e1",)]
    finally:
        server.stop()


async def test_other_processes_forget_the_words(site: Site, database_url: str, redis_url: str, tmp_path: Path) -> None:
    async with open_site(database_url, redis_url, tmp_path / "two") as other:
        texts = other.services.recommender.profiles
        await texts.vector(WORDS)
        await site.post("e1", WHO)
        await site.services.eraser.erase(WHO)

        async def is_forgotten() -> bool:
            return not texts._known

        await until(is_forgotten)


async def test_the_reply_says_what_the_live_model_knows(site: Site) -> None:
    versions = site.services.versions
    since, until_at = utc_now() - timedelta(days=9), utc_now() - timedelta(days=1)
    await site.post("old", WHO, occurred_at=since)
    await site.post("learned", WHO, occurred_at=until_at)
    await site.post("late", WHO)
    data = {"from": since.isoformat(), "until": until_at.isoformat(), "events": 2, "users": 1, "items": 2}
    await versions.add(ModelVersion("v1", utc_now() + timedelta(seconds=1), "full", data=data, verdict="passed"))
    await site.services.versions._versions.activate("v1")  # its files are none of this test's business
    erased = await site.services.eraser.erase(WHO)
    assert erased is not None
    assert erased.live_model is not None
    assert (erased.live_model.version, erased.live_model.events) == ("v1", 2)
    assert erased.live_model.until.startswith("the next full retrain that starts after 2")
    assert (erased.live_model.data_from, erased.live_model.data_until) == (since, until_at)


@pytest.mark.parametrize("mode", ["full", "incremental"])
async def test_the_next_training_set_is_what_it_would_be_without_the_user(
    site: Site, tmp_path: Path, mode: str
) -> None:
    await PostgresShopData(site.engine).load(
        shop([(f"u{n % 5}", f"i{n % 7}", float(n)) for n in range(40)]), no_progress
    )
    learner = Learner(site.engine, tmp_path)
    before = digest(await learner.read(mode))
    await site.services.catalogue.upsert_users([User(WHO, WORDS)])
    for n in range(7):
        await site.post(f"e{n}", WHO, VISIT, item_id=f"i{n}", context={"query": "owls"})
    await site.post("visitor", None, VISIT, item_id="i1")
    with_her = await learner.read(mode)
    assert digest(with_her) != before
    assert WHO in with_her.data.user_ids
    learner.prepare.checkpoints.save("interrupted", {})  # a run that was killed wants to read what it had read
    await site.services.eraser.erase(WHO)
    assert digest(await learner.read(mode)) == before


async def test_erasures_commit_in_the_order_of_their_numbers(engine: AsyncEngine) -> None:
    """Processes look for the newest number only: a smaller one that came later would be missed."""
    store = PostgresErasure(engine)
    async with begin(engine) as connection:
        await connection.execute(events.insert().values(event_id="e", type="click", item_id="i", user_id="u", occurred_at=utc_now()))  # fmt: skip
    async with begin(engine) as connection:
        await connection.execute(select(func.pg_advisory_xact_lock(IN_ORDER)))

        waiting = asyncio.create_task(store.erase("u", hashes_of))
        await asyncio.wait([waiting], timeout=0.3)
        assert not waiting.done()
    assert await waiting is not None
    assert len(await rows(engine, erasures.c.seq)) == 1
