"""API keys, as hashes."""

from __future__ import annotations

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.keys import ApiKey
from app.stores.postgres.engine import begin
from app.stores.postgres.revisions import move_revision
from app.stores.postgres.tables import api_keys

COLUMNS = tuple(api_keys.c.keys())


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
