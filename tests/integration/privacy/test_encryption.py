"""With keys in the settings the words of a profile are readable nowhere in the stores, and everything goes on as before."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from cryptography.fernet import Fernet

from app.api.schemas.privacy import ExportView
from app.catalogue.item import User
from app.catalogue.shop_data import ShopData
from app.encoding.encoder import Encoder
from app.errors import BadSettings, Unavailable
from app.feedback.merging import Guest
from app.learning.inputs import encode_inputs
from app.privacy.encryption import TextCipher, name_of
from app.serving.slate import SlateRequest
from app.stores.postgres.shop_data import PostgresShopData
from app.stores.postgres.tables import users
from app.types import no_progress
from app.wiring.stores import open_stores
from app.wiring.upkeep import make_upkeep
from tests.integration.privacy.conftest import Site, open_site
from tests.integration.privacy.holdings import keys_with, rows, tables_with
from tests.integration.privacy.test_consent import Learner
from tests.unit.learning.builders import shop

WORDS = "I restore harpsichords"
OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


async def readable_somewhere(site: Site, word: str = "harpsichord") -> set[str]:
    return await tables_with(site.engine, word) | keys_with(site.redis_url, word)


async def rotate(site: Site) -> int:
    async with open_stores(site.settings) as stores:
        return sum((await make_upkeep(site.settings, stores).run_once()).values())


async def keys(site: Site) -> set[str | None]:
    return {key for key, text in await rows(site.engine, users.c.text_key, users.c.text) if text is not None}


async def test_the_words_stand_nowhere_and_everything_reads_them(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    async with open_site(database_url, redis_url, tmp_path, profile_keys=OLD) as site:
        catalogue = site.services.catalogue
        await catalogue.upsert_users([User("u1", WORDS, occupation="luthier"), User("guest", WORDS + " too")])
        await catalogue.update_user("u1", lambda user: User("u1", (user.text or "") + ", and play them"))
        whole = WORDS + ", and play them"
        found = await catalogue.get_user("u1")
        assert found is not None
        assert found.text == whole
        await site.post("e1", "u1")
        state = await site.services.live_state.read("u1", None)
        for _ in range(2):  # built from PostgreSQL, then kept in Redis
            assert state.profile is not None
            assert state.profile.text == whole
            state = await site.services.live_state.read("u1", None)
        await site.services.recommender.recommend(SlateRequest("home", user_id="u1"), "key")
        assert [user.text for user in await catalogue.list_users(after=None, limit=9)] == [WORDS + " too", whole]
        assert await catalogue.list_users(after=None, limit=9, query="harpsi") == [], "secret words are not searched"
        await site.services.merger.merge(Guest("guest"), "u2")
        merged = await catalogue.get_user("u2")
        assert merged is not None
        assert merged.text == WORDS + " too"
        holdings = await site.services.exporter.export("u1")
        assert holdings is not None
        assert whole in ExportView.of("u1", holdings).model_dump_json()
        assert await readable_somewhere(site) == set()
        assert await keys(site) == {name_of(OLD)}
        assert OLD not in str(site.settings)


async def test_import_export_and_training_read_them(database_url: str, redis_url: str, tmp_path: Path) -> None:
    data = shop([(f"u{n % 5}", f"i{n % 7}", float(n)) for n in range(40)])
    told = ShopData(data.items, data.users.with_columns(text=pl.lit(WORDS)), data.events)
    async with open_site(database_url, redis_url, tmp_path, profile_keys=OLD) as site:
        async with open_stores(site.settings) as stores:
            await stores.shop_data.load(told, no_progress)
            assert set((await stores.shop_data.read()).users["text"]) == {WORDS}
            learner = Learner(site.engine, tmp_path)
            learner.prepare = type(learner.prepare)(**{**vars(learner.prepare), "shop_data": stores.shop_data})
            material = await learner.read()
            inputs = encode_inputs(material, material.data, Encoder(), no_progress)
            assert inputs.profile_UT.says_something_R.all()
        assert await readable_somewhere(site) == set()


async def test_texts_follow_the_newest_key_and_the_old_one_may_go(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    async with open_site(database_url, redis_url, tmp_path) as site:
        await site.services.catalogue.upsert_users([User(f"u{n}", f"{WORDS} {n}") for n in range(450)])
        await site.services.catalogue.upsert_users([User("silent")])
        assert "users" in await readable_somewhere(site)
        assert await keys(site) == {None}
    for keys_given, newest in ((OLD, OLD), (f"{NEW},{OLD}", NEW)):
        async with open_site(database_url, redis_url, tmp_path, profile_keys=keys_given) as site:
            user = await site.services.catalogue.get_user("u7")
            assert user is not None
            assert user.text == f"{WORDS} 7"
            assert await rotate(site) == 450
            assert await rotate(site) == 0
            assert await keys(site) == {name_of(newest)}
            assert "users" not in await readable_somewhere(site)
    async with open_site(database_url, redis_url, tmp_path, profile_keys=NEW) as site:
        user = await site.services.catalogue.get_user("u449")
        assert user is not None
        assert user.text == f"{WORDS} 449"


@pytest.mark.parametrize("given", [NEW, None])
async def test_without_the_key_nothing_is_lost_and_slates_go_on(
    database_url: str, redis_url: str, tmp_path: Path, given: str | None
) -> None:
    async with open_site(database_url, redis_url, tmp_path, profile_keys=OLD) as site:
        await site.services.catalogue.upsert_users([User("u1", WORDS), User("u2", WORDS)])
        await site.services.live_state.read("u1", None)  # kept in Redis
    async with open_site(database_url, redis_url, tmp_path, profile_keys=given) as site:
        for work in (
            site.services.catalogue.get_user("u1"),
            site.services.catalogue.update_user("u1", lambda user: User("u1", "overwritten")),
            PostgresShopData(site.engine, TextCipher([given] if given else [])).read(),
        ):
            with pytest.raises(Unavailable, match=f"key {name_of(OLD)}.*PROFILE_KEYS"):
                await work
        slate = await site.services.recommender.recommend(SlateRequest("home", user_id="u1"), "key")
        assert "user_state" in slate.degraded
        erased = await site.services.eraser.erase("u2")
        assert erased is not None
        assert erased.profile
    async with open_site(database_url, redis_url, tmp_path, profile_keys=OLD) as site:
        user = await site.services.catalogue.get_user("u1")
        assert user is not None
        assert user.text == WORDS


async def test_a_text_under_a_lost_key_holds_up_nobody(
    database_url: str, redis_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_site(database_url, redis_url, tmp_path, profile_keys=OLD) as site:
        await site.services.catalogue.upsert_users([User("lost", WORDS)])
    async with open_site(database_url, redis_url, tmp_path) as site:
        await site.services.catalogue.upsert_users([User(f"u{n}", WORDS) for n in range(3)])
    async with open_site(database_url, redis_url, tmp_path, profile_keys=NEW) as site:
        assert await rotate(site) == 3
        assert await keys(site) == {name_of(OLD), name_of(NEW)}
        assert "1 profile texts are under keys" in caplog.text


def test_a_text_that_looks_encrypted_is_a_text() -> None:
    cipher = TextCipher([OLD])
    stored = cipher.encrypt(WORDS)
    assert TextCipher().decrypt(TextCipher().encrypt(stored.text)) == stored.text
    assert cipher.decrypt(cipher.encrypt(stored.text)) == stored.text


def test_a_key_that_is_none_is_refused_at_start() -> None:
    with pytest.raises(BadSettings, match="PROFILE_KEYS"):
        TextCipher(["a word"])
