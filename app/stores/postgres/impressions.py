"""Slates as they were shown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import ARRAY, Text, bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.feedback.event import Impression
from app.stores.postgres.engine import begin
from app.stores.postgres.tables import impressions

NAMES = tuple(map(str, impressions.c.keys()))
COLUMNS = ", ".join(NAMES)
# As one text: a parameter for each value costs this process more than the whole rest of writing a slate.
INSERT = text(f"""
    INSERT INTO impressions ({COLUMNS})
    SELECT {COLUMNS} FROM json_populate_recordset(NULL::impressions, CAST(:rows AS json)) ON CONFLICT DO NOTHING
""").bindparams(bindparam("rows", type_=Text))  # noqa: S608 - names of our own
# One that was still on its way when its user was erased comes in as the others were left: see `erasing`.
HIDE_LATE = text("""
    UPDATE impressions SET user_id = 'erased-' || gen_random_uuid(), session_id = NULL, context = NULL
    FROM erasures
    WHERE recommendation_id = ANY(:ids) AND subject = sha256(convert_to(user_id, 'UTF8')) AND shown_at <= erased_at
""").bindparams(bindparam("ids", type_=ARRAY(Text)))


class PostgresImpressions:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def write(self, given: Sequence[Impression]) -> None:
        """One transaction; an impression that is there already is left as it is."""
        if not given:
            return
        rows = orjson.dumps([row_of(shown) for shown in given]).decode()
        async with begin(self._engine) as connection:
            await connection.execute(INSERT, {"rows": rows})
            await connection.execute(HIDE_LATE, {"ids": [shown.recommendation_id for shown in given]})

    async def shown_by(self, recommendation_ids: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """Recommendation -> items, of those recorded."""
        columns = impressions.c.recommendation_id, impressions.c.item_ids
        query = select(*columns).where(impressions.c.recommendation_id.in_(recommendation_ids))
        async with begin(self._engine) as connection:
            return {row.recommendation_id: row.item_ids for row in await connection.execute(query)}


def row_of(shown: Impression) -> dict[str, Any]:
    """As orjson takes it, but for the context: its numbers may be of any size."""
    row: dict[str, Any] = {name: getattr(shown, name) for name in NAMES}
    row["context"] = orjson.Fragment(json.dumps(dict(shown.context))) if shown.context else None
    return row
