"""What live states are derived from, read for many users or sessions in one round trip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from types import SimpleNamespace
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncEngine

from app.errors import Unavailable
from app.feedback.event import DISLIKED_STARS, LIKED_STARS, taste_kind_of
from app.feedback.seen import MAX_SEEN, NO_ACT, SAME_SHOWING, SEEN_DAYS, SEEN_HALF_LIFE_SECONDS
from app.feedback.state import MAX_HISTORY, HistoryEntry, Part, Whose
from app.privacy.encryption import PLAIN, TextCipher
from app.scenarios.scenario import MAX_PURCHASED_DAYS
from app.stores.postgres.engine import driver_of
from app.stores.postgres.users import COLUMNS, to_user

MAX_SLATES = 1_000  # of one subject that are looked at, the newest


def statement(whose: Whose) -> str:
    """$1 names, $2 now, $3 since when purchases, and $4 showings, count. A row for each name, in their order: four columns of JSON, and
    of a user what stands in `users`.

    OFFSET hides from the planner how many names there are. It would else plan anew each time, which takes longer than all the rest.

    A showing that the storefront reports of a slate it just got is that slate's own; an act on an item makes what was shown before count
    no more.
    """
    theirs = f"{whose} = given.name"
    known = f"{theirs} AND retracted_at IS NULL"
    no_act, epoch = ", ".join(f"'{kind}'" for kind in NO_ACT), "extract(epoch FROM occurred_at)::float8"
    profile = ", described, " + ", ".join(f"users.{column.name}" for column in COLUMNS) if whose == "user_id" else ""
    join = "LEFT JOIN users ON users.user_id = given.name" if whose == "user_id" else ""
    return f"""
        SELECT (
            SELECT json_agg(json_build_array(item_id, type, value, at, event_id)) FROM (
                SELECT item_id, type, value, {epoch} AS at, event_id FROM events
                WHERE {known} AND type <> 'impression' ORDER BY occurred_at DESC, seq DESC LIMIT {MAX_HISTORY}
            ) AS newest
        )::text AS history, (
            SELECT json_object_agg(item_id, at) FROM (
                SELECT item_id, max({epoch}) AS at FROM events
                WHERE {known} AND type = 'purchase' AND occurred_at >= $3 GROUP BY item_id
            ) AS purchases
        )::text AS purchased, (
            SELECT json_object_agg(item_id, times ORDER BY times DESC, item_id) FROM (
                WITH shown AS (
                    SELECT unnest(item_ids) AS item_id, shown_at AS at FROM (
                        SELECT item_ids, shown_at FROM impressions WHERE {theirs} AND shown_at >= $4
                        ORDER BY shown_at DESC LIMIT {MAX_SLATES}
                    ) AS slates
                    UNION ALL
                    SELECT item_id, occurred_at FROM events
                    WHERE {known} AND type = 'impression' AND occurred_at >= $4 AND NOT EXISTS (
                        SELECT FROM impressions WHERE impressions.recommendation_id = events.recommendation_id AND
                        events.occurred_at <= impressions.shown_at + interval '{SAME_SHOWING.total_seconds()} seconds'
                    )
                ), acts AS (
                    SELECT item_id, max(occurred_at) AS at FROM events
                    WHERE {known} AND type NOT IN ({no_act}) AND NOT (type = 'rating' AND value < {DISLIKED_STARS})
                    AND occurred_at >= $4 GROUP BY item_id
                )
                SELECT shown.item_id,
                    sum(power(2::float8, extract(epoch FROM shown.at - $2)::float8 / {SEEN_HALF_LIFE_SECONDS})) AS times
                FROM shown LEFT JOIN acts USING (item_id) WHERE acts.at IS NULL OR shown.at > acts.at
                GROUP BY shown.item_id ORDER BY times DESC, shown.item_id LIMIT {MAX_SEEN}
            ) AS most
        )::text AS seen, (
            SELECT json_object_agg(item_id, disliked_at) FROM (
                SELECT item_id,
                    max({epoch}) FILTER (WHERE type = 'dislike' OR type = 'rating' AND value < {DISLIKED_STARS}) AS disliked_at,
                    max({epoch}) FILTER (
                        WHERE type = 'like' OR type = 'rating' AND (value IS NULL OR value >= {LIKED_STARS})
                    ) AS liked_at
                FROM events WHERE {known} AND type IN ('like', 'dislike', 'rating') GROUP BY item_id
            ) AS opinions WHERE disliked_at IS NOT NULL AND (liked_at IS NULL OR liked_at < disliked_at)
        )::text AS dismissed{profile}
        FROM (SELECT $1::text[] AS names OFFSET 0) AS asked CROSS JOIN unnest(names) WITH ORDINALITY AS given (name, place) {join}
        ORDER BY place
    """  # noqa: S608 - our own names and numbers


STATEMENTS: Mapping[Whose, str] = {"user_id": statement("user_id"), "session_id": statement("session_id")}


class PostgresSubjects:
    """cipher: of profile texts."""

    def __init__(self, engine: AsyncEngine, cipher: TextCipher = PLAIN) -> None:
        self._engine = engine
        self._cipher = cipher

    async def parts_of(self, whose: Whose, names: Sequence[str], now: datetime) -> list[Part | Unavailable]:
        since = [now - timedelta(days=days) for days in (MAX_PURCHASED_DAYS, SEEN_DAYS)]
        async with driver_of(self._engine) as driver:
            rows = await driver.fetch(STATEMENTS[whose], names, now, *since)
        return [self._part_of(row) for row in rows]

    def _part_of(self, row: Mapping[str, Any]) -> Part | Unavailable:
        try:
            profile = to_user(SimpleNamespace(**row), self._cipher) if row.get("described") else None
        except Unavailable as error:
            return error
        history = [
            HistoryEntry(item_id, taste_kind_of(kind, value), at, event_id)
            for item_id, kind, value, at, event_id in _read(row["history"], [])
        ]
        history.sort(key=attrgetter("occurred_at", "event_id"))
        purchased, seen, dismissed = (_read(row[name], {}) for name in ("purchased", "seen", "dismissed"))
        return Part(history, purchased, seen, dismissed, profile)


def _read(column: str | None, nothing: Any) -> Any:
    return nothing if column is None else orjson.loads(column)
