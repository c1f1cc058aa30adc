"""Feedback in Postgres: groups are written by one statement, a retracted event keeps its row and its id."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, NamedTuple

import asyncpg
from sqlalchemy import BigInteger, Row, delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine

from app.feedback.event import Event
from app.feedback.state import UnappliedGroup
from app.stores.postgres.engine import begin, driver_of
from app.stores.postgres.exposures import read_exposures
from app.stores.postgres.tables import events, unapplied_groups

MAX_DEADLOCKS = 3
MAX_GROUPS = 1_000
FIELDS = {
    "event_id": "text", "type": "text", "item_id": "text", "user_id": "text", "session_id": "text", "scenario": "text",
    "recommendation_id": "text", "position": "int", "value": "float8", "quantity": "float8", "currency": "text",
    "order_id": "text", "occurred_at": "timestamptz", "context": "text",
}  # fmt: skip
COLUMNS = tuple(events.c[name] for name in FIELDS)
NAMES = ", ".join(FIELDS)
ARRAYS = ", ".join(f"${place}::{kind}[] AS {name}_s" for place, (name, kind) in enumerate(FIELDS.items(), 1))
ALL = ", ".join(f"{name}_s" for name in FIELDS)
GROUP = f"${len(FIELDS) + 1}::text"
# One round trip and one commit for a group of any size. Stubs are made for what nobody described yet; they do not move the
# catalogue revision, because a stub is nothing that could be recommended. OFFSET hides from the planner how many events there are: it
# would plan anew for every small group.
APPEND = f"""
    WITH given AS (
        SELECT given.* FROM (SELECT {ARRAYS} OFFSET 0) AS sent CROSS JOIN unnest({ALL}) WITH ORDINALITY AS given ({NAMES}, place)
    ), fresh AS (
        INSERT INTO events ({NAMES})
        SELECT {NAMES.replace("context", "context::jsonb")} FROM given ORDER BY place
        ON CONFLICT (event_id) DO NOTHING RETURNING seq, event_id, item_id, user_id
    ), noted AS (
        INSERT INTO unapplied_groups AS g (group_id, first_seq, last_seq)
        SELECT {GROUP}, min(seq), max(seq) FROM fresh WHERE {GROUP} IS NOT NULL HAVING count(*) > 0
        ON CONFLICT (group_id) DO UPDATE SET last_seq = greatest(g.last_seq, excluded.last_seq), written_at = now()
    ), new_items AS (
        INSERT INTO items (item_id)
        SELECT DISTINCT item_id FROM fresh WHERE NOT EXISTS (SELECT FROM items WHERE items.item_id = fresh.item_id)
        ORDER BY item_id ON CONFLICT DO NOTHING
    ), new_users AS (
        INSERT INTO users (user_id)
        SELECT DISTINCT user_id FROM fresh
        WHERE user_id IS NOT NULL AND NOT EXISTS (SELECT FROM users WHERE users.user_id = fresh.user_id)
        ORDER BY user_id ON CONFLICT DO NOTHING
    )
    SELECT event_id FROM fresh
"""  # noqa: S608 - our own names


values_of = attrgetter(*FIELDS)


class HourCounts(NamedTuple):
    """rows: (hours since 1970, scenario, item, type, events). open_groups: durable at that moment, not yet in the live state."""

    rows: list[tuple[int, str | None, str, str, int]]
    open_groups: int


class PostgresEvents:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def append(self, given: Sequence[Event], *, group_id: str | None = None) -> set[str]:
        if not given:
            return set()
        values = [*to_arrays(given), group_id]
        for _ in range(MAX_DEADLOCKS):
            try:
                return await self._append(values)
            except (
                asyncpg.DeadlockDetectedError
            ):  # two groups met the same ids in opposite order; the other one goes on
                continue
        return await self._append(values)

    async def _append(self, values: Sequence[Any]) -> set[str]:
        async with driver_of(self._engine) as driver:
            return {row[0] for row in await driver.fetch(APPEND, *values)}

    async def applied(self, group_ids: Sequence[str], *, older_than: timedelta | None = None) -> None:
        done = delete(unapplied_groups).where(unapplied_groups.c.group_id.in_(group_ids))
        if older_than is not None:
            done = done.where(unapplied_groups.c.written_at < func.now() - older_than)
        async with begin(self._engine) as connection:
            await connection.execute(done)

    async def unapplied(self, older_than: timedelta) -> list[UnappliedGroup]:
        """Groups whose writer died, or could not reach the live state, before it had them. At most MAX_GROUPS."""
        old = unapplied_groups.c.written_at < func.now() - older_than
        query = select(unapplied_groups).where(old).order_by(unapplied_groups.c.written_at).limit(MAX_GROUPS)
        async with begin(self._engine) as connection:
            return [
                UnappliedGroup(
                    row.group_id,
                    row.first_seq,
                    row.last_seq,
                    *map(tuple, (row.users, row.sessions, row.sole_sessions, row.lists)),
                )
                for row in await connection.execute(query)
            ]

    async def shoppers_of(self, group: UnappliedGroup, limit: int) -> list[tuple[str | None, str | None]]:
        """(user, session) of the events in a group's range, at most `limit`."""
        query = (
            select(events.c.user_id, events.c.session_id)
            .where(events.c.seq.between(group.first_seq, group.last_seq))
            .distinct()
            .limit(limit)
        )
        async with begin(self._engine) as connection:
            return [(user_id, session_id) for user_id, session_id in await connection.execute(query)]

    async def retract(self, event_id: str, *, group_id: str | None = None) -> Event | None:
        taken_back = (
            update(events)
            .where(events.c.event_id == event_id, events.c.retracted_at.is_(None))
            .values(retracted_at=func.now())
            .returning(events.c.seq, *COLUMNS)
        )
        async with begin(self._engine) as connection:
            row = (await connection.execute(taken_back)).one_or_none()
            if row is not None and group_id is not None:
                noted = {"group_id": group_id, "first_seq": row.seq, "last_seq": row.seq}
                await connection.execute(insert(unapplied_groups).values(noted))
            return None if row is None else to_event(row)

    async def exposures_since(self, since: datetime) -> tuple[Mapping[str, int], Mapping[str, int]]:
        """Item -> how often it was shown in the newest slates since then, and clicked."""
        async with begin(self._engine) as connection:
            return await read_exposures(connection, since)

    async def counts_by_hour(self, since: datetime) -> HourCounts:
        """Everything since then, by hour: what trends are rebuilt from."""
        hour = func.floor(func.extract("epoch", events.c.occurred_at) / 3600).cast(BigInteger)
        group = (hour, events.c.scenario, events.c.item_id, events.c.type)
        query = (
            select(*group, func.count())
            .where(events.c.occurred_at >= since, events.c.type != "impression", events.c.retracted_at.is_(None))
            .group_by(*group)
        )
        async with begin(self._engine) as connection:
            await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            rows = [tuple(row) for row in await connection.execute(query)]
            of_events = select(func.count()).where(unapplied_groups.c.first_seq.is_not(None))
            open_groups = (await connection.execute(of_events)).scalar_one()
            return HourCounts(rows, open_groups)


def to_arrays(given: Sequence[Event]) -> list[tuple[Any, ...]]:
    """One for each of FIELDS."""
    *others, contexts = zip(*map(values_of, given), strict=True)
    return [*others, tuple(json.dumps(dict(context)) if context else None for context in contexts)]


def to_event(row: Row[Any]) -> Event:
    values = {name: getattr(row, name) for name in FIELDS}
    return Event(**values | {"context": values["context"] or {}})
