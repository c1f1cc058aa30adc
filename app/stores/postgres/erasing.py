"""`ErasureStore`: one user out of every table, in one transaction."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import CursorResult, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from ulid import ULID

from app.catalogue.item import User
from app.errors import Unavailable
from app.privacy.encryption import PLAIN, TextCipher
from app.privacy.erasure import ErasedEvent, ErasedRows, TextHashes
from app.stores.postgres.engine import begin
from app.stores.postgres.merging import lock_users
from app.stores.postgres.retention import is_mine
from app.stores.postgres.tables import erasures, events, impressions, text_vectors, unapplied_groups, users
from app.stores.postgres.users import COLUMNS, to_user
from app.stores.postgres.whose import belongs_to, sessions_of

IN_ORDER = (
    0x6475_6F65  # "duoe": erasures commit in the order of their numbers, so that who follows the newest misses none
)
LISTS_FOR = timedelta(hours=1)  # longer than a list is kept
NOTED_FOR = timedelta(days=2)  # far longer than an impression waits for its store
UNUSED_FOR = timedelta(days=60)  # before a text's vector is dropped
ALIAS = "erased-"
QUERY = events.c.context["query"].astext


class PostgresErasure:
    def __init__(self, engine: AsyncEngine, cipher: TextCipher = PLAIN) -> None:
        self._engine = engine
        self._cipher = cipher

    async def erase(self, user_id: str, text_hashes: TextHashes) -> ErasedRows | None:
        async with begin(self._engine) as connection:
            await lock_users(connection, [user_id])
            await connection.execute(select(func.pg_advisory_xact_lock(IN_ORDER)))
            sessions, sole = await sessions_of(connection, user_id)
            gone = delete(events).where(belongs_to(events, user_id, sole))
            rows = (await connection.execute(gone.returning(events.c.occurred_at, events.c.received_at, QUERY))).all()
            shown = await hide_impressions(connection, user_id, sole)
            row = (await connection.execute(delete(users).where(users.c.user_id == user_id).returning(*COLUMNS, users.c.described))).one_or_none()  # fmt: skip
            if row is None and not rows and not shown:
                return None
            profile = readable(row, self._cipher) if row is not None and row.described else None
            queries = [query for _, _, query in rows if query]
            vectors = await forget_vectors(connection, text_hashes(profile, queries))
            erased_at: datetime = (await connection.execute(select(func.now()))).scalar_one()
            lists = [name for name, shown_at in shown if shown_at > erased_at - LISTS_FOR]
            await note(connection, user_id, sessions, sole, lists)
        return ErasedRows(
            erased_at=erased_at,
            profile=profile is not None,
            events=[ErasedEvent(occurred_at, received_at) for occurred_at, received_at, _ in rows],
            impressions=len(shown),
            text_vectors=vectors,
            sessions=sessions,
            sole_sessions=sole,
            lists=lists,
        )

    async def tidy(self, limit: int) -> int:
        """Forget who was erased, as soon as nothing of them can be on its way any more. The newest note stays, for its number."""
        old = select(erasures.c.seq).where(
            erasures.c.erased_at < func.now() - NOTED_FOR,
            erasures.c.seq < select(func.max(erasures.c.seq)).scalar_subquery(),
        )
        async with begin(self._engine) as connection:
            if not await is_mine(connection):
                return 0
            gone: CursorResult[Any] = await connection.execute(
                delete(erasures).where(erasures.c.seq.in_(old.limit(limit)))
            )
            return gone.rowcount

    async def drop_unused_vectors(self, limit: int) -> int:
        """Those of texts that nobody has any more, or that a retraining would encode anew anyway."""
        key = select(text_vectors.c.encoder, text_vectors.c.hash).where(
            text_vectors.c.used_on < func.current_date() - UNUSED_FOR
        )
        async with begin(self._engine) as connection:
            if not await is_mine(connection):
                return 0
            named = func.row(text_vectors.c.encoder, text_vectors.c.hash).in_(key.limit(limit))
            gone: CursorResult[Any] = await connection.execute(delete(text_vectors).where(named))
            return gone.rowcount


def readable(row: Any, cipher: TextCipher) -> User:
    """Whoever lost a key can erase all the same; the vector of that text goes once it is out of use."""
    try:
        return to_user(row, cipher)
    except Unavailable:
        return User(row.user_id)


async def hide_impressions(connection: AsyncConnection, user_id: str, sole_sessions: list[str]) -> list[Any]:
    """They stay for what they say of items: under an alias that nothing leads to, without session and context."""
    alias = ALIAS + secrets.token_hex(16)
    hidden = (
        update(impressions)
        .where(belongs_to(impressions, user_id, sole_sessions))
        .values(user_id=alias, session_id=None, context=None)
        .returning(impressions.c.recommendation_id, impressions.c.shown_at)
    )
    return list((await connection.execute(hidden)).all())


async def forget_vectors(connection: AsyncConnection, hashes: Sequence[bytes]) -> int:
    """By content: somebody with the very same words has them encoded again."""
    if not hashes:
        return 0
    gone: CursorResult[Any] = await connection.execute(delete(text_vectors).where(text_vectors.c.hash.in_(hashes)))
    return gone.rowcount


async def note(
    connection: AsyncConnection, user_id: str, sessions: list[str], sole_sessions: list[str], lists: list[str]
) -> None:
    """For the repair, which cleans Redis some seconds from now, whether or not that was done by then: an event that another
    process was just bringing there must not stay. Range 0-0: the trends are counted anew as well."""
    group = {
        "group_id": str(ULID()), "first_seq": 0, "last_seq": 0, "users": [user_id], "sessions": sessions,
        "sole_sessions": sole_sessions, "lists": lists,
    }  # fmt: skip
    await connection.execute(insert(unapplied_groups).values(group))
    await connection.execute(insert(erasures).values(subject=digest_of(user_id)))


def digest_of(user_id: str) -> bytes:
    """As PostgreSQL's sha256(convert_to(user_id, 'UTF8'))."""
    return hashlib.sha256(user_id.encode()).digest()
