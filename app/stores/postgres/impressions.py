"""Slates as they were shown."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from app.feedback.event import Impression
from app.stores.postgres.engine import begin
from app.stores.postgres.tables import impressions

INSERT = insert(impressions).on_conflict_do_nothing()


class PostgresImpressions:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def write(self, given: Sequence[Impression]) -> None:
        """One transaction; an impression that is there already is left as it is."""
        if not given:
            return
        names = impressions.c.keys()
        lists = ("item_ids", "scores", "propensities")
        rows = [
            {name: getattr(shown, name) for name in names}
            | {name: list(getattr(shown, name)) for name in lists}
            | {"context": dict(shown.context) or None}
            for shown in given
        ]
        async with begin(self._engine) as connection:
            await connection.execute(INSERT, rows)
