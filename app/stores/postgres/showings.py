"""What a subject was shown and dislikes, and how often items were shown at all: the live state's other figures, from Postgres."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import DateTime, Text, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.feedback.event import DISLIKED_STARS, LIKED_STARS
from app.feedback.seen import NO_ACT, SAME_SHOWING, SEEN_DAYS, SEEN_HALF_LIFE_SECONDS

MAX_SLATES = 1_000  # of one subject that are looked at, the newest
MAX_SLATES_COUNTED = 100_000  # of all, the newest: some seconds at most

# A showing that the storefront reports of a slate it just got is that slate's own; an act on an item makes what was shown before count
# no more.
SEEN = """
    WITH shown AS (
        SELECT unnest(item_ids) AS item_id, shown_at AS at FROM (
            SELECT item_ids, shown_at FROM impressions WHERE {whose} = :name AND shown_at >= :since
            ORDER BY shown_at DESC LIMIT :max_slates
        ) AS slates
        UNION ALL
        SELECT item_id, occurred_at FROM events
        WHERE {whose} = :name AND type = 'impression' AND retracted_at IS NULL AND occurred_at >= :since AND NOT EXISTS (
            SELECT FROM impressions WHERE impressions.recommendation_id = events.recommendation_id
            AND events.occurred_at <= impressions.shown_at + :same_showing
        )
    ), acts AS (
        SELECT item_id, max(occurred_at) AS at FROM events
        WHERE {whose} = :name AND NOT type = ANY(:no_act) AND NOT (type = 'rating' AND value < :disliked)
        AND retracted_at IS NULL AND occurred_at >= :since
        GROUP BY item_id
    )
    SELECT shown.item_id, sum(power(2::float8, extract(epoch FROM shown.at - :now)::float8 / :half_life)) AS times
    FROM shown LEFT JOIN acts USING (item_id)
    WHERE acts.at IS NULL OR shown.at > acts.at
    GROUP BY shown.item_id ORDER BY times DESC, shown.item_id LIMIT :limit
"""
DISMISSED = """
    SELECT item_id,
           max(occurred_at) FILTER (WHERE type = 'dislike' OR type = 'rating' AND value < :disliked) AS disliked_at,
           max(occurred_at) FILTER (WHERE type = 'like' OR type = 'rating' AND (value IS NULL OR value >= :liked)) AS liked_at
    FROM events
    WHERE {whose} = :name AND type IN ('like', 'dislike', 'rating') AND retracted_at IS NULL
    GROUP BY item_id
"""
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


async def read_seen(
    connection: AsyncConnection, column: str, name: str, now: datetime, limit: int
) -> Mapping[str, float]:
    """Item -> decayed number of showings, the greatest first. column: user_id or session_id."""
    values = {
        "name": name, "since": now - timedelta(days=SEEN_DAYS), "now": now, "limit": limit, "max_slates": MAX_SLATES,
        "same_showing": SAME_SHOWING, "no_act": list(NO_ACT), "disliked": DISLIKED_STARS, "half_life": SEEN_HALF_LIFE_SECONDS,
    }  # fmt: skip
    rows = await connection.execute(_statement(SEEN, column), values)
    return {row.item_id: row.times for row in rows}


async def read_dismissed(connection: AsyncConnection, column: str, name: str) -> Mapping[str, float]:
    """Item -> unix seconds of a dislike that no later liking took back."""
    values = {"name": name, "disliked": DISLIKED_STARS, "liked": LIKED_STARS}
    rows = await connection.execute(_statement(DISMISSED, column), values)
    return {
        item_id: disliked_at.timestamp()
        for item_id, disliked_at, liked_at in rows
        if disliked_at is not None and (liked_at is None or liked_at < disliked_at)
    }


async def read_exposures(connection: AsyncConnection, since: datetime) -> tuple[Mapping[str, int], Mapping[str, int]]:
    values = {"since": since, "max_slates": MAX_SLATES_COUNTED}
    shown, clicked = [await connection.execute(_statement(query, ""), values) for query in (SHOWN_COUNTS, CLICK_COUNTS)]
    return {item_id: int(count) for item_id, count in shown}, {item_id: int(count) for item_id, count in clicked}


def _statement(query: str, column: str) -> Any:
    """column: our own word, never a caller's."""
    statement = text(query.format(whose=column))
    typed: dict[str, Any] = {"now": DateTime(timezone=True), "since": DateTime(timezone=True), "name": Text()}
    return statement.bindparams(*(bindparam(name, type_=kind) for name, kind in typed.items() if f":{name}" in query))
