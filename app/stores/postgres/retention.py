"""Rows whose time is over: deleted in batches, by one worker at a time."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CursorResult, DateTime, bindparam, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from ulid import ULID

from app.stores.postgres.engine import begin

LOCK = 0x6475_6F72  # "duor": the advisory lock of the upkeep
# The states of the shoppers are derived anew by whoever repairs (see `unapplied_groups`); trends look back one day, so they hold none.
DELETE_EVENTS = text("""
    WITH gone AS (
        DELETE FROM events WHERE seq IN (
            SELECT seq FROM events WHERE occurred_at < :before ORDER BY occurred_at, seq LIMIT :limit
        ) RETURNING seq, user_id, session_id
    ), noted AS (
        INSERT INTO unapplied_groups (group_id, users, sessions)
        SELECT :group_id, coalesce(array_agg(DISTINCT user_id) FILTER (WHERE user_id IS NOT NULL), '{}'),
               coalesce(array_agg(DISTINCT session_id) FILTER (WHERE session_id IS NOT NULL), '{}')
        FROM gone HAVING count(*) > 0
    ), stubs AS (
        DELETE FROM users WHERE NOT described AND user_id IN (SELECT user_id FROM gone) AND NOT EXISTS (
            SELECT FROM events WHERE events.user_id = users.user_id AND events.seq NOT IN (SELECT seq FROM gone)
        )
    )
    SELECT count(*) FROM gone
""").bindparams(bindparam("before", type_=DateTime(timezone=True)))
DELETE_IMPRESSIONS = text("""
    DELETE FROM impressions WHERE recommendation_id IN (
        SELECT recommendation_id FROM impressions WHERE shown_at < :before ORDER BY shown_at LIMIT :limit
    )
""").bindparams(bindparam("before", type_=DateTime(timezone=True)))


class PostgresRetention:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def delete_events(self, before: datetime, limit: int) -> int:
        async with begin(self._engine) as connection:
            if not await is_mine(connection):
                return 0
            values = {"before": before, "limit": limit, "group_id": str(ULID())}
            return int((await connection.execute(DELETE_EVENTS, values)).scalar_one())

    async def delete_impressions(self, before: datetime, limit: int) -> int:
        async with begin(self._engine) as connection:
            if not await is_mine(connection):
                return 0
            gone: CursorResult[Any] = await connection.execute(DELETE_IMPRESSIONS, {"before": before, "limit": limit})
            return gone.rowcount


async def is_mine(connection: AsyncConnection) -> bool:
    """Whether this transaction is the only one that does upkeep now."""
    return bool((await connection.execute(select(func.pg_try_advisory_xact_lock(LOCK)))).scalar_one())
