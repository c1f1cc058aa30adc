"""`HoldingsStore`: the rows of one user, as of one moment."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.feedback.event import Impression
from app.privacy.encryption import PLAIN, TextCipher
from app.privacy.erasure import hashes_of
from app.privacy.exporting import HeldEvent, HeldRows
from app.stores.postgres import events as feedback
from app.stores.postgres.engine import begin
from app.stores.postgres.tables import events, impressions, text_vectors, users
from app.stores.postgres.users import COLUMNS, to_user
from app.stores.postgres.whose import belongs_to, sessions_of


class PostgresHoldings:
    def __init__(self, engine: AsyncEngine, cipher: TextCipher = PLAIN) -> None:
        self._engine = engine
        self._cipher = cipher

    async def read(self, user_id: str) -> HeldRows | None:
        async with begin(self._engine) as connection:
            await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            _, sole = await sessions_of(connection, user_id)
            of_user: list[Any] = [*COLUMNS, users.c.described]
            of_event: list[Any] = [*feedback.COLUMNS, events.c.received_at, events.c.retracted_at]
            user = (await connection.execute(select(*of_user).where(users.c.user_id == user_id))).one_or_none()
            done = await connection.execute(
                select(*of_event).where(belongs_to(events, user_id, sole)).order_by(events.c.occurred_at, events.c.seq)
            )
            held = [HeldEvent(feedback.to_event(row), row.received_at, row.retracted_at) for row in done]
            seen = await connection.execute(
                select(impressions).where(belongs_to(impressions, user_id, sole)).order_by(impressions.c.shown_at)
            )
            shown = [to_impression(row) for row in seen]
            if user is None and not held and not shown:
                return None
            profile = to_user(user, self._cipher) if user is not None and user.described else None
            queries = [str(one.event.context["query"]) for one in held if one.event.context.get("query")]
            kept = select(func.count()).where(text_vectors.c.hash.in_(hashes_of(profile, queries)))
            return HeldRows(profile, held, shown, (await connection.execute(kept)).scalar_one(), sole)


def to_impression(row: Row[Any]) -> Impression:
    values: dict[str, Any] = {name: getattr(row, name) for name in impressions.c.keys()}  # noqa: SIM118 - not a dict
    lists = {name: tuple(values[name]) for name in ("item_ids", "scores", "propensities")}
    return Impression(**values | lists | {"context": values["context"] or {}})
