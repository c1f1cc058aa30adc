"""Which rows are somebody's: those with their id, and what the sessions in which only they were recognised did before that."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Table, and_, any_, literal, or_, select, union
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from app.stores.postgres.tables import ID, events, impressions


async def sessions_of(connection: AsyncConnection, user_id: str) -> tuple[list[str], list[str]]:
    """All sessions in which the user was recognised, and of these the ones in which nobody else was."""
    own = union(
        *(
            select(table.c.session_id).where(table.c.user_id == user_id, table.c.session_id.is_not(None))
            for table in (events, impressions)
        )
    )
    sessions = sorted((await connection.execute(own)).scalars())
    if not sessions:
        return [], []
    others = union(
        *(
            select(table.c.session_id).where(in_sessions(table, sessions), table.c.user_id.is_not(None), table.c.user_id != user_id)
            for table in (events, impressions)
        )
    )  # fmt: skip
    shared = set((await connection.execute(others)).scalars())
    return sessions, [session for session in sessions if session not in shared]


def belongs_to(table: Table, user_id: str, sole_sessions: list[str]) -> ColumnElement[bool]:
    """table: events or impressions. sole_sessions: as `sessions_of` gives them."""
    before = and_(table.c.user_id.is_(None), in_sessions(table, sole_sessions))
    return or_(table.c.user_id == user_id, before) if sole_sessions else table.c.user_id == user_id


def in_sessions(table: Table, sessions: list[str]) -> ColumnElement[bool]:
    return table.c.session_id == any_(literal(sessions, ARRAY(ID)))
