"""Counters that processes follow. The row lock of the counter makes its order the order of commits."""

from __future__ import annotations

from typing import Literal

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.scenarios.scenario import Revisions
from app.stores.postgres.engine import begin
from app.stores.postgres.tables import revisions

Name = Literal["catalogue", "scenarios", "models", "keys"]


class PostgresRevisions:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def read(self) -> Revisions:
        async with begin(self._engine) as connection:
            rows = await connection.execute(select(revisions.c.name, revisions.c.value))
            return Revisions(**{row.name: row.value for row in rows})


async def move_revision(connection: AsyncConnection, name: Name) -> int:
    """The next value of a counter, seen by others with the commit of this transaction.

    Call it before touching the rows themselves: writers queue here, in one order, and so cannot deadlock.
    """
    moved = update(revisions).where(revisions.c.name == name).values(value=revisions.c.value + 1)
    value: int = (await connection.execute(moved.returning(revisions.c.value))).scalar_one()
    return value
