"""A guest's rows become those of an account, in one transaction."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CursorResult, Table, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.feedback.merging import Guest, Merged, joined
from app.privacy.encryption import PLAIN, TextCipher
from app.stores.postgres.engine import begin
from app.stores.postgres.tables import events, impressions, users
from app.stores.postgres.users import COLUMNS, note_unapplied, to_row, to_user


class PostgresMerges:
    def __init__(self, engine: AsyncEngine, cipher: TextCipher = PLAIN) -> None:
        self._engine = engine
        self._cipher = cipher

    async def merge(self, guest: Guest, user_id: str) -> Merged:
        async with begin(self._engine) as connection:
            await lock_users(connection, [user_id] if guest.user_id is None else [user_id, guest.user_id])
            num_events = await move(connection, events, guest, user_id)
            num_impressions = await move(connection, impressions, guest, user_id)
            if num_events:
                await connection.execute(insert(users).values(user_id=user_id).on_conflict_do_nothing())
            profile = guest.user_id is not None and await move_profile(connection, guest.user_id, user_id, self._cipher)
            users_noted = [name for name in (user_id, guest.user_id) if name is not None]
            await note_unapplied(connection, users_noted, [guest.session_id] if guest.session_id is not None else [])
        return Merged(num_events, num_impressions, profile)


async def lock_users(connection: AsyncConnection, user_ids: list[str]) -> None:
    """Merges that touch one another wait in one order, rows or not."""
    for user_id in sorted(user_ids):
        await connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"merge {user_id}", 0))))


async def move(connection: AsyncConnection, table: Table, guest: Guest, user_id: str) -> int:
    if guest.user_id is not None:
        whose = table.c.user_id == guest.user_id
    else:
        whose = (table.c.session_id == guest.session_id) & table.c.user_id.is_(None)
    moved: CursorResult[Any] = await connection.execute(update(table).where(whose).values(user_id=user_id))
    return moved.rowcount


async def move_profile(connection: AsyncConnection, guest_id: str, user_id: str, cipher: TextCipher) -> bool:
    """Whether the account's description changed. The guest's row is gone."""
    ids = sorted((guest_id, user_id))
    columns: list[Any] = [*COLUMNS, users.c.described]
    query = select(*columns).where(users.c.user_id.in_(ids)).order_by(users.c.user_id)
    found = {row.user_id: row for row in await connection.execute(query.with_for_update())}
    guest, account = found.get(guest_id), found.get(user_id)
    if guest is None:
        return False
    await connection.execute(delete(users).where(users.c.user_id == guest_id))
    before = to_user(account, cipher) if account is not None else None
    after = joined(before, to_user(guest, cipher)) if before else to_user(guest, cipher)
    values = {name: value for name, value in to_row(after, cipher).items() if name not in ("user_id", "created_at")}
    values["described"] = guest.described or (account is not None and account.described)
    row = insert(users).values(user_id=user_id, **values)
    await connection.execute(row.on_conflict_do_update(index_elements=["user_id"], set_=values))
    return bool(values["described"]) and before != after
