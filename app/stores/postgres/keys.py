"""API keys, as hashes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.keys import ApiKey
from app.stores.postgres.engine import begin
from app.stores.postgres.revisions import move_revision
from app.stores.postgres.tables import TIME, api_keys

COLUMNS = tuple(api_keys.c.keys())
NOTE_USE = (
    update(api_keys)
    .where(api_keys.c.key_id == bindparam("used_key"))
    .values(last_used_at=func.greatest(api_keys.c.last_used_at, bindparam("used_at", type_=TIME)))
)


class PostgresKeys:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def add(self, key: ApiKey) -> None:
        values = {name: getattr(key, name) for name in COLUMNS} | {"scopes": sorted(key.scopes)}
        async with begin(self._engine) as connection:
            await move_revision(connection, "keys")
            await connection.execute(insert(api_keys).values(values))

    async def all(self) -> list[ApiKey]:
        query = select(api_keys).order_by(api_keys.c.created_at, api_keys.c.key_id)
        async with begin(self._engine) as connection:
            rows = (await connection.execute(query)).mappings()
            return [ApiKey(**{**row, "scopes": frozenset(row["scopes"])}) for row in rows]

    async def revoke(self, key_id: str) -> bool:
        """False for a key that is unknown or revoked already."""
        revoked = (
            update(api_keys)
            .where(api_keys.c.key_id == key_id, api_keys.c.revoked_at.is_(None))
            .values(revoked_at=func.now())
        )
        async with begin(self._engine) as connection:
            await move_revision(connection, "keys")
            if (await connection.execute(revoked)).rowcount:
                return True
            await connection.rollback()
            return False

    async def note_uses(self, used_at: Mapping[str, datetime]) -> None:
        """No revision moves: nobody has to read keys again because one was used."""
        rows = [{"used_key": key_id, "used_at": used_at[key_id]} for key_id in sorted(used_at)]
        if rows:
            async with begin(self._engine) as connection:
                await connection.execute(NOTE_USE, rows)
