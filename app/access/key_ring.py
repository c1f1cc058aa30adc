"""The keys every request is checked against, in memory; the store behind it is read when its revision moved."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic

from ulid import ULID

from app.access.keys import SCOPES, ApiKey, KeyStore, Scope
from app.errors import Invalid, Unavailable
from app.types import utc_now

KEY_PREFIX = "dsk_"  # lets people and secret scanners recognise a leaked key
SETTINGS_KEY_ID = "settings"
LOOK_AGAIN_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class NewKey:
    """secret: the key itself; nobody can read it again."""

    record: ApiKey
    secret: str


def digest_of(secret: str, pepper: str = "") -> str:
    """A key is 256 random bits, so a fast digest hides it. The pepper is for who can write to the database: without it
    nobody makes a row that opens the service."""
    given = secret.encode("utf-8", "surrogatepass")
    return hmac.digest(pepper.encode(), given, "sha256").hex() if pepper else hashlib.sha256(given).hexdigest()


def allows(key: ApiKey, scope: Scope) -> bool:
    return scope in key.scopes or "admin" in key.scopes


async def create_key(
    store: KeyStore, name: str, scopes: Collection[str], *, pepper: str = "", rate_limit_per_minute: int | None = None
) -> NewKey:
    """Make a key and keep its digest. Raises Invalid for an unknown scope or none."""
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        what = f"unknown scope {unknown[0]!r}" if unknown else "no scope given"
        raise Invalid(f"{what}; choose from {', '.join(SCOPES)}", code="unknown_scope", loc=("scopes",))
    secret = KEY_PREFIX + secrets.token_urlsafe(32)
    granted = frozenset(scope for scope in SCOPES if scope in scopes)
    record = ApiKey(
        str(ULID()), name, granted, digest_of(secret, pepper),
        created_at=utc_now(), rate_limit_per_minute=rate_limit_per_minute,
    )  # fmt: skip
    await store.add(record)
    return NewKey(record, secret)


def key_of_settings(secret: str, pepper: str) -> ApiKey:
    epoch, digest = datetime.fromtimestamp(0, UTC), digest_of(secret, pepper)
    return ApiKey(SETTINGS_KEY_ID, "admin key of the settings", frozenset(SCOPES), digest, created_at=epoch)


class KeyRing:
    """admin_key: a key given by settings; it needs no store and cannot be revoked. pepper: see `digest_of`."""

    def __init__(self, store: KeyStore, admin_key: str | None = None, pepper: str = "") -> None:
        self._store = store
        self._pepper = pepper
        self._from_settings = key_of_settings(admin_key, pepper) if admin_key else None
        self._by_digest: dict[str, ApiKey] = {}
        self._is_read = False
        self._looking = asyncio.Lock()
        self._not_before = 0.0

    async def refresh(self) -> None:
        """Read all keys again. Called at start and whenever the `keys` revision moved."""
        self._by_digest = {key.sha256: key for key in await self._store.all() if key.revoked_at is None}
        self._is_read = True

    def find(self, secret: str) -> ApiKey | None:
        """The live key with this secret. Only digests are looked up and compared, and nobody can steer a digest byte by byte:
        how long it takes tells nothing of a secret."""
        digest = digest_of(secret, self._pepper)
        if self._from_settings and hmac.compare_digest(self._from_settings.sha256, digest):
            return self._from_settings
        return self._by_digest.get(digest)

    async def find_anew(self, secret: str) -> ApiKey | None:
        """For a key that is unknown here: another process may have made it a moment ago, so the store is asked, by all
        callers together and not more often than every LOOK_AGAIN_SECONDS. None also while the store is away, but raises Unavailable
        if it was never read: the key may be a good one."""
        async with self._looking:
            found = self.find(secret)
            if found is None and monotonic() >= self._not_before:
                with contextlib.suppress(Unavailable):
                    await self.refresh()
                self._not_before = monotonic() + LOOK_AGAIN_SECONDS  # afterwards: those in line need not ask again
                found = self.find(secret)
            if found is None and not self._is_read:
                raise Unavailable("the keys cannot be read yet; try again", code="store_unavailable")
            return found

    async def create(self, name: str, scopes: Collection[str], rate_limit_per_minute: int | None = None) -> NewKey:
        new = await create_key(
            self._store, name, scopes, pepper=self._pepper, rate_limit_per_minute=rate_limit_per_minute
        )
        await self.refresh()
        return new

    async def revoke(self, key_id: str) -> bool:
        revoked = await self._store.revoke(key_id)
        await self.refresh()
        return revoked

    async def list_keys(self) -> list[ApiKey]:
        """Oldest first, revoked ones included."""
        return await self._store.all()
