"""How often items were shown and clicked, whoever to: from Postgres, for the live state."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import DateTime, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection

MAX_SLATES_COUNTED = 100_000  # the newest: some seconds at most

SHOWN_COUNTS = """
    SELECT item_id, count(*) FROM (
        SELECT unnest(item_ids) AS item_id FROM (
            SELECT item_ids FROM impressions WHERE shown_at >= :since ORDER BY shown_at DESC LIMIT :max_slates
        ) AS slates
    ) AS shown GROUP BY item_id
"""
CLICK_COUNTS = """
    SELECT item_id, count(*) FROM events
    WHERE type = 'click' AND retracted_at IS NULL AND occurred_at >= greatest(:since, (
        SELECT min(shown_at) FROM (
            SELECT shown_at FROM impressions WHERE shown_at >= :since ORDER BY shown_at DESC LIMIT :max_slates
        ) AS slates
    ))
    GROUP BY item_id
"""


async def read_exposures(connection: AsyncConnection, since: datetime) -> tuple[Mapping[str, int], Mapping[str, int]]:
    values: Mapping[str, Any] = {"since": since, "max_slates": MAX_SLATES_COUNTED}
    shown, clicked = [
        await connection.execute(text(query).bindparams(bindparam("since", type_=DateTime(timezone=True))), values)
        for query in (SHOWN_COUNTS, CLICK_COUNTS)
    ]
    return {item_id: int(count) for item_id, count in shown}, {item_id: int(count) for item_id, count in clicked}
