"""Secrets that all processes of the service share, made by whoever asks first."""

from __future__ import annotations

import secrets

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from app.stores.postgres.engine import begin
from app.stores.postgres.tables import shared_secrets


class PostgresSecrets:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def shared_secret(self, name: str, num_bytes: int) -> bytes:
        offered = {"name": name, "value": secrets.token_bytes(num_bytes)}
        kept = select(shared_secrets.c.value).where(shared_secrets.c.name == name)
        async with begin(self._engine) as connection:
            await connection.execute(insert(shared_secrets).values(offered).on_conflict_do_nothing())
        async with begin(self._engine) as connection:  # another one: what a rival committed meanwhile is seen
            value: bytes = (await connection.execute(kept)).scalar_one()
            return value
