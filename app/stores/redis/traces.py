"""What Redis holds of a user besides states: kept lists, and events that Postgres refused."""

from __future__ import annotations

import json
from collections.abc import Sequence

from app.stores.redis.client import Client
from app.types import Json


async def erase_traces(
    client: Client, prefix: str, user_ids: Sequence[str], sole_sessions: Sequence[str], lists: Sequence[str]
) -> None:
    pipe = client.pipeline(transaction=False)
    for list_id in lists:
        pipe.unlink(f"{prefix}:l:{list_id}")
    for place, _ in await refused_of(client, prefix, user_ids, sole_sessions):
        pipe.xdel(refused_key(prefix), place)
    await pipe.execute()


async def refused_of(
    client: Client, prefix: str, user_ids: Sequence[str], sole_sessions: Sequence[str]
) -> list[tuple[bytes, dict[str, Json]]]:
    """With their places: events of the users, and those without a user in sessions that are only theirs. At most MAX_REFUSED entries
    are looked at."""
    entries = await client.xrange(refused_key(prefix))
    events = [(place, json.loads(fields[b"e"])) for place, fields in entries]
    others = {event.get("session_id") for _, event in events if event.get("user_id") not in (None, *user_ids)}
    anonymous = {*sole_sessions} - others
    return [
        (place, event)
        for place, event in events
        if event.get("user_id") in user_ids or (event.get("user_id") is None and event.get("session_id") in anonymous)
    ]


def refused_key(prefix: str) -> str:
    return f"{prefix}:bridge:refused"
