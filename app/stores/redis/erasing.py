"""`Traces`: what Redis holds of one user beside what it derives from Postgres."""

from __future__ import annotations

import json
from collections.abc import Sequence

from app.errors import Unavailable
from app.stores.redis.client import FAILURES, Server
from app.stores.redis.live_state import RedisLiveState
from app.types import Json

TIMEOUT_SECONDS = 2.0


class RedisTraces:
    def __init__(self, redis_url: str, live: RedisLiveState, prefix: str = "duoscene") -> None:
        self._server = Server(redis_url, timeout_seconds=TIMEOUT_SECONDS)
        self._live = live
        self._prefix = prefix
        self._refused = f"{prefix}:bridge:refused"

    async def close(self) -> None:
        await self._server.close()

    async def is_reachable(self) -> bool:
        return await self._server.is_reachable()

    async def erase(self, user_id: str, sessions: Sequence[str], lists: Sequence[str]) -> bool:
        is_gone = await self._live.erase(user_id, sessions)
        try:
            pipe = self._server.client.pipeline(transaction=False)
            for list_id in lists:
                pipe.unlink(f"{self._prefix}:l:{list_id}")
            for place, _ in await self._refused_of(user_id):
                pipe.xdel(self._refused, place)
            await pipe.execute()
        except FAILURES as error:
            self._server.rest(f"an erasure: {type(error).__name__}")
            return False
        return is_gone

    async def refused(self, user_id: str) -> list[dict[str, Json]]:
        """Events of the user that Postgres refused, kept aside for people. Raises Unavailable."""
        try:
            return [event for _, event in await self._refused_of(user_id)]
        except FAILURES as error:
            raise Unavailable(
                f"Redis cannot be reached ({type(error).__name__}); try again", code="store_unavailable"
            ) from error

    async def _refused_of(self, user_id: str) -> list[tuple[bytes, dict[str, Json]]]:
        """With their places. At most MAX_REFUSED entries are looked at."""
        entries = await self._server.client.xrange(self._refused)
        events = [(place, json.loads(fields[b"e"])) for place, fields in entries]
        return [(place, event) for place, event in events if event.get("user_id") == user_id]
