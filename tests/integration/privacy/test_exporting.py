"""An export holds everything; a taste profile says what the next slate goes by."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
import redis

from app.api.schemas.privacy import ExportView, TasteView
from app.catalogue.item import Consent, Item, User
from app.embedded.redis import start_redis
from app.errors import Unavailable
from app.privacy.erasure import hashes_of
from app.release.version import ModelVersion
from app.types import utc_now
from tests.integration.feedback.test_intake import allow_connections
from tests.integration.privacy.conftest import Site, open_site, until
from tests.integration.privacy.test_erasure import VISIT, WHO, WORDS, live


async def test_an_export_holds_everything(site: Site) -> None:
    await live(site)
    versions = site.services.versions
    data = {"from": "2026-01-01T00:00:00+00:00", "until": (utc_now() - timedelta(days=1)).isoformat()}
    await site.post("old", WHO, occurred_at=utc_now() - timedelta(days=2))
    await versions.add(ModelVersion("v1", utc_now() + timedelta(seconds=1), "full", data=data, verdict="passed"))
    await versions._versions.activate("v1")
    holdings = await site.services.exporter.export(WHO)
    assert holdings is not None
    view = ExportView.of(WHO, holdings)
    assert view.profile is not None
    assert (view.profile.user_id, view.profile.text) == (WHO, WORDS)
    told = {event.event_id: event for event in view.events}
    assert told.keys() == {"old", "before-login", "e1", "e2", "e3", "e4", "taken-back"}
    assert told["e1"].context == {"query": "owls of porcelain"}
    assert told["taken-back"].retracted_at is not None
    assert (told["before-login"].user_id, told["before-login"].session_id) == (None, VISIT)
    assert [event.event_id for event in view.events if event.in_live_model] == ["old"]
    assert view.live_model is not None
    assert (view.live_model.version, view.live_model.events) == ("v1", 1)
    assert {len(shown.item_ids) for shown in view.impressions} == {4}
    assert [entry.event_id for entry in view.live_state.history] == ["old", "e1", "e2", "e3"]
    assert (view.live_state.purchased.keys(), view.live_state.dismissed.keys()) == ({"an-owl"}, {"i1"})
    assert view.text_vectors == 2
    ExportView.model_validate_json(view.model_dump_json(by_alias=True))

    other = await site.services.exporter.export("somebody-else")
    assert other is not None
    assert WHO not in ExportView.of("somebody-else", other).model_dump_json()
    assert await site.services.exporter.export("nobody") is None


async def test_what_the_database_refused_is_in_it_and_is_erased(site: Site, database_url: str) -> None:
    await site.post("e1", WHO, VISIT)
    await site.post("e2", WHO, "tablet")
    await site.post("e3", "somebody-else", "tablet")
    await allow_connections(database_url, False)
    # Who finds out that the database is away has a value that it can hold: others are refused before they reach it.
    await site.post("e4", "somebody-else", "tablet")
    for name, user_id, session_id in (
        ("bad", WHO, None), ("before-login", None, VISIT), ("whose", None, "tablet"), ("yours", "somebody-else", "tablet")
    ):  # fmt: skip
        await site.post(name, user_id, session_id, position=2**40)  # no column of the database holds it
    await allow_connections(database_url, True)

    async def is_refused() -> bool:
        try:
            holdings = await site.services.exporter.export(WHO)
        except Unavailable:
            return False
        return holdings is not None and [event["event_id"] for event in holdings.refused] == ["bad", "before-login"]

    async def is_erased() -> bool:
        try:
            return await site.services.eraser.erase(WHO) is not None
        except Unavailable:
            return False

    await until(is_refused)
    await until(is_erased)
    assert await site.services.exporter.export(WHO) is None
    with redis.Redis.from_url(site.redis_url) as client:
        left = [json.loads(fields[b"e"])["event_id"] for _, fields in client.xrange("duoscene:bridge:refused")]
    assert left == ["whose", "yours"]


async def test_a_taste_profile_follows_every_event(site: Site) -> None:
    await site.services.catalogue.upsert_items([Item("rod", "Carbon rod", category=("Fishing", "Rods"), brand="Iron")])
    await site.services.catalogue.upsert_users([User(WHO, WORDS, consent=Consent(personalize=False))])
    taste = await site.services.taste.read(WHO, 20)
    assert taste is not None
    assert (taste.interests, taste.personal) == ((), False)
    await site.post("e1", WHO, item_id="rod")
    await site.post("e2", WHO, item_id="somewhere")
    view = TasteView.of(WHO, await site.services.taste.read(WHO, 1))  # type: ignore[arg-type]
    (only,) = view.interests
    assert (only.kind, only.value, only.weight) == ("brand", "Iron", 1.0)
    assert [(one.event_id, one.title) for one in only.events] == [("e1", "Carbon rod")]
    assert await site.services.taste.read("nobody", 20) is None


async def test_half_an_export_is_none(database_url: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    server = start_redis(tmp_path / "redis")
    try:
        async with open_site(database_url, server.url, tmp_path) as site:
            await site.post("e1", WHO)
            server.stop()
            with pytest.raises(Unavailable):
                await site.services.exporter.export(WHO)
    finally:
        server.stop()


def test_the_hashes_are_of_the_words_that_are_encoded() -> None:
    assert hashes_of(None, []) == []
    assert hashes_of(User("u"), ["  Red Mug "]) == hashes_of(None, ["red mug"])
    assert len(hashes_of(User("u", "I fish"), ["red mug", "RED MUG"])) == 2
