"""Counters that processes follow. The row lock of the counter makes its order the order of commits."""

from __future__ import annotations

from typing import Literal

from sqlalchemy import func, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.scenarios.scenario import Revisions
from app.stores.postgres.engine import begin
from app.stores.postgres.tables import erasures, revisions

Name = Literal["catalogue", "scenarios", "models", "keys"]
# Erasures have no row of their own among the counters, because the release before would not know it.
NEWEST_ERASURE = select(literal("erasures").label("name"), func.coalesce(func.max(erasures.c.seq), 0).label("value"))
READ = select(revisions.c.name, revisions.c.value).union_all(NEWEST_ERASURE)


class PostgresRevisions:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def read(self) -> Revisions:
        async with begin(self._engine) as connection:
            return Revisions(**{row.name: row.value for row in await connection.execute(READ)})


async def move_revision(connection: AsyncConnection, name: Name) -> int:
    """The next value of a counter, seen by others with the commit of this transaction.

    Call it before touching the rows themselves: writers queue here, in one order, and so cannot deadlock.
    """
    moved = update(revisions).where(revisions.c.name == name).values(value=revisions.c.value + 1)
    value: int = (await connection.execute(moved.returning(revisions.c.value))).scalar_one()
    return value
