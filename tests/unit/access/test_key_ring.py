"""Keys: shown once, kept hashed, refused once revoked."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

import pytest

from app.access.key_ring import KeyRing, allows, create_key, digest_of
from app.access.keys import ApiKey
from app.errors import Invalid, Unavailable
from app.types import utc_now


class KeyTable:
    """A KeyStore in a list."""

    def __init__(self) -> None:
        self.keys: list[ApiKey] = []
        self.num_reads = 0
        self.is_away = False

    async def add(self, key: ApiKey) -> None:
        self.keys.append(key)

    async def all(self) -> list[ApiKey]:
        self.num_reads += 1
        if self.is_away:
            raise Unavailable("away", code="store_unavailable")
        return self.keys

    async def note_uses(self, used_at: Mapping[str, datetime]) -> None:
        self.keys = [replace(key, last_used_at=used_at.get(key.key_id)) for key in self.keys]

    async def revoke(self, key_id: str) -> bool:
        live = [key for key in self.keys if key.key_id == key_id and key.revoked_at is None]
        self.keys = [replace(key, revoked_at=utc_now()) if key in live else key for key in self.keys]
        return bool(live)


async def test_a_created_key_is_found_and_only_its_digest_is_kept() -> None:
    table = KeyTable()
    ring = KeyRing(table)
    new = await ring.create("storefront", ["recommend", "feedback"])
    assert ring.find(new.secret) == new.record
    assert new.secret.startswith("dsk_")
    assert new.secret not in repr(table.keys)
    assert table.keys[0].sha256 == digest_of(new.secret)


async def test_keys_of_other_processes_are_known_after_a_refresh() -> None:
    table = KeyTable()
    ring = KeyRing(table)
    new = await create_key(table, "elsewhere", ["catalog"])
    assert ring.find(new.secret) is None
    await ring.refresh()
    assert ring.find(new.secret) == new.record


async def test_a_key_made_elsewhere_a_moment_ago_is_looked_up_but_strangers_cannot_hammer_the_store() -> None:
    table = KeyTable()
    ring = KeyRing(table)
    new = await create_key(table, "elsewhere", ["catalog"])
    assert await ring.find_anew(new.secret) == new.record
    for _ in range(100):
        assert await ring.find_anew("dsk_guess") is None
    assert table.num_reads == 1


async def test_before_the_store_was_ever_read_nobody_is_told_that_a_key_is_unknown() -> None:
    table = KeyTable()
    ring = KeyRing(table, "a-long-admin-key-of-settings")
    new = await create_key(table, "shop", ["recommend"])
    table.is_away = True
    for _ in range(3):
        with pytest.raises(Unavailable) as caught:
            await ring.find_anew(new.secret)
        assert (caught.value.code, table.num_reads) == ("store_unavailable", 1)
    assert ring.find("a-long-admin-key-of-settings") is not None
    table.is_away = False
    await ring.refresh()
    table.is_away = True
    assert await ring.find_anew(new.secret) == new.record
    assert await ring.find_anew("dsk_guess") is None


async def test_a_revoked_key_is_unknown() -> None:
    ring = KeyRing(KeyTable())
    new = await ring.create("x", ["admin"])
    assert await ring.revoke(new.record.key_id)
    assert ring.find(new.secret) is None
    assert not await ring.revoke(new.record.key_id)
    assert [key.name for key in await ring.list_keys()] == ["x"]


async def test_the_key_of_the_settings_needs_no_store() -> None:
    ring = KeyRing(KeyTable(), "a-long-admin-key-of-settings")
    found = ring.find("a-long-admin-key-of-settings")
    assert found is not None
    assert allows(found, "catalog")
    assert ring.find("a-long-admin-key-of-setting") is None


@pytest.mark.parametrize("secret", ["", "dsk_", "\ud800", "é" * 10_000])
async def test_nonsense_is_no_key(secret: str) -> None:
    assert KeyRing(KeyTable()).find(secret) is None


async def test_admin_implies_all_scopes_and_the_others_only_themselves() -> None:
    table = KeyTable()
    admin = (await create_key(table, "a", ["admin"])).record
    shop = (await create_key(table, "s", ["recommend"])).record
    assert all(allows(admin, scope) for scope in ("recommend", "feedback", "catalog", "admin"))
    assert [scope for scope in ("recommend", "feedback", "catalog", "admin") if allows(shop, scope)] == ["recommend"]


@pytest.mark.parametrize("scopes", [[], ["root"], ["recommend", "Admin"]])
async def test_unknown_scopes_are_refused(scopes: list[str]) -> None:
    with pytest.raises(Invalid) as caught:
        await create_key(KeyTable(), "x", scopes)
    assert caught.value.code == "unknown_scope"


class Tripwire(str):
    """A secret that nobody may compare: equality of strings stops at the first difference, and time tells where."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        raise AssertionError("a secret was compared")

    def __hash__(self) -> int:
        raise AssertionError("a secret was looked up")


async def test_a_secret_is_only_ever_digested_never_compared() -> None:
    ring = KeyRing(KeyTable(), "a-long-admin-key-of-settings", "a-pepper-of-16-chars")
    new = await ring.create("shop", ["recommend"])
    assert ring.find(Tripwire(new.secret)) == new.record
    assert ring.find(Tripwire("a-long-admin-key-of-settings")) is not None
    assert ring.find(Tripwire("dsk_guess")) is None


async def test_with_a_pepper_a_row_made_without_it_opens_nothing() -> None:
    table = KeyTable()
    forged = await create_key(table, "by who can write to the database", ["admin"])
    ring = KeyRing(table, pepper="a-pepper-of-16-chars")
    new = await ring.create("shop", ["recommend"])
    assert ring.find(forged.secret) is None
    assert ring.find(new.secret) == new.record
    assert new.record.sha256 not in (digest_of(new.secret), new.secret)
