"""Users in Postgres: the user half of `CatalogueStore`."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import and_, case, collate, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from ulid import ULID

from app.catalogue.item import Consent, User
from app.privacy.encryption import PLAIN, StoredText, TextCipher
from app.stores.postgres.engine import begin
from app.stores.postgres.retention import is_mine
from app.stores.postgres.tables import unapplied_groups, users
from app.types import utc_now

CONSENT = ("personalize", "train")
FIELDS = (*(field.name for field in dataclasses.fields(User) if field.name != "consent"), *CONSENT)
COLUMNS = (*(users.c[name] for name in FIELDS), users.c.text_key)
log = logging.getLogger(__name__)


class PostgresUsers:
    def __init__(self, engine: AsyncEngine, cipher: TextCipher = PLAIN) -> None:
        self._engine = engine
        self._cipher = cipher

    async def upsert_users(self, given: Sequence[User], *, group_id: str | None = None) -> None:
        async with begin(self._engine) as connection:
            await write_users(connection, given, self._cipher)
            await note_unapplied(connection, [user.user_id for user in given], group_id=group_id)

    async def update_user(
        self, user_id: str, change: Callable[[User], User], *, group_id: str | None = None
    ) -> User | None:
        async with begin(self._engine) as connection:
            found = select(*COLUMNS).where(users.c.user_id == user_id, users.c.described).with_for_update()
            row = (await connection.execute(found)).one_or_none()
            if row is None:
                return None
            changed = change(to_user(row, self._cipher))
            await write_users(connection, [changed], self._cipher)
            await note_unapplied(connection, [user_id], group_id=group_id)
            return changed

    async def get_user(self, user_id: str) -> User | None:
        async with begin(self._engine) as connection:
            found = select(*COLUMNS).where(users.c.user_id == user_id, users.c.described)
            row = (await connection.execute(found)).one_or_none()
            return None if row is None else to_user(row, self._cipher)

    async def list_users(
        self, *, after: str | None, limit: int, query: str | None = None, whole_id: str | None = None
    ) -> list[User]:
        wanted = select(*COLUMNS).where(users.c.described).order_by(users.c.user_id).limit(limit)
        if after is not None:
            wanted = wanted.where(users.c.user_id > after)
        if query:
            text = and_(
                users.c.text_key.is_(None), users.c.text.icontains(query, autoescape=True)
            )  # the others are secret
            words = [text, users.c.occupation.icontains(query, autoescape=True)]
            part_of_id = collate(users.c.user_id, "default").icontains(query, autoescape=True)
            wanted = wanted.where(or_(*words, part_of_id if whole_id is None else users.c.user_id == whole_id))
        async with begin(self._engine) as connection:
            return [to_user(row, self._cipher) for row in await connection.execute(wanted)]

    async def rotate_texts(self, limit: int) -> int:
        """Bring texts that are plain, or under an older key, under the newest one. Returns how many; 0 while another process is at it.

        A text whose key is missing stays as it is, and the log says how many there are.
        """
        is_known = users.c.text_key.is_(None) | users.c.text_key.in_(self._cipher.known)
        wanted = (
            select(users.c.user_id, users.c.text, users.c.text_key)
            .where(users.c.text.is_not(None), users.c.text_key.is_distinct_from(self._cipher.newest), is_known)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        async with begin(self._engine) as connection:
            if not await is_mine(connection):
                return 0
            rows = (await connection.execute(wanted)).all()
            for user_id, text, key in rows:
                stored = self._cipher.rotate(StoredText(text, key))
                changed = update(users).where(users.c.user_id == user_id)
                await connection.execute(changed.values(text=stored.text, text_key=stored.key))
            if not rows:  # once a round
                lost = select(func.count()).select_from(users).where(users.c.text.is_not(None), ~is_known)
                if num_lost := (await connection.execute(lost)).scalar_one():
                    log.warning("%d profile texts are under keys that are not among DUOSCENE_PROFILE_KEYS", num_lost)
            return len(rows)


async def note_unapplied(
    connection: AsyncConnection, user_ids: Sequence[str], sessions: Sequence[str] = (), *, group_id: str | None = None
) -> None:
    """Should this process die before the live state hears of it, another one drops these states. group_id: to take the note back."""
    if user_ids:
        changed = {"users": list(user_ids), "sessions": list(sessions)}
        await connection.execute(insert(unapplied_groups).values(group_id=group_id or str(ULID()), **changed))


async def write_users(connection: AsyncConnection, given: Sequence[User], cipher: TextCipher) -> None:
    """In id order, as everybody who writes several users does, so that writers wait and do not deadlock."""
    if given:
        await connection.execute(
            UPSERT, [to_row(user, cipher) for user in sorted(given, key=lambda user: user.user_id)]
        )


def make_upsert() -> Any:
    row = insert(users)
    kept = case((users.c.described, users.c.created_at), else_=row.excluded.created_at)
    replaced = {
        name: row.excluded[name] for name in (*FIELDS, "text_key", "described", "updated_at") if name != "user_id"
    }
    return row.on_conflict_do_update(index_elements=["user_id"], set_=replaced | {"created_at": kept})


UPSERT = make_upsert()


def to_row(user: User, cipher: TextCipher) -> dict[str, Any]:
    now, stored = utc_now(), cipher.encrypt(user.text)
    row = {name: getattr(user.consent if name in CONSENT else user, name) for name in FIELDS}
    return row | {
        "text": stored.text, "text_key": stored.key, "tags": list(user.tags), "attributes": dict(user.attributes),
        "described": True, "created_at": user.created_at or now, "updated_at": now,
    }  # fmt: skip


def to_user(row: Any, cipher: TextCipher) -> User:
    """row: with COLUMNS as attributes. Raises Unavailable for a text whose key is missing."""
    values = {name: getattr(row, name) for name in FIELDS if name not in CONSENT}
    values["text"] = cipher.decrypt(StoredText(row.text, row.text_key))
    values["tags"] = tuple(row.tags)
    return User(**values, consent=Consent(row.personalize, row.train))
