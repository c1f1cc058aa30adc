"""`Traces`: what Redis holds of one user beside what it derives from Postgres."""

from __future__ import annotations

from collections.abc import Sequence

from app.errors import Unavailable
from app.stores.redis.client import FAILURES, Server
from app.stores.redis.live_state import RedisLiveState
from app.stores.redis.traces import erase_traces, refused_of
from app.types import Json

TIMEOUT_SECONDS = 2.0


class RedisTraces:
    def __init__(self, redis_url: str, live: RedisLiveState, prefix: str = "duoscene") -> None:
        self._server = Server(redis_url, timeout_seconds=TIMEOUT_SECONDS)
        self._live = live
        self._prefix = prefix

    async def close(self) -> None:
        await self._server.close()

    async def is_reachable(self) -> bool:
        return await self._server.is_reachable()

    async def erase(
        self, user_id: str, sessions: Sequence[str], sole_sessions: Sequence[str], lists: Sequence[str]
    ) -> bool:
        is_gone = await self._live.erase(user_id, sessions)
        try:
            await erase_traces(self._server.client, self._prefix, [user_id], sole_sessions, lists)
        except FAILURES as error:
            self._server.rest(f"an erasure: {type(error).__name__}")
            return False
        return is_gone

    async def refused(self, user_id: str, sole_sessions: Sequence[str]) -> list[dict[str, Json]]:
        """Events of the user that Postgres refused, kept aside for people. Raises Unavailable."""
        try:
            found = await refused_of(self._server.client, self._prefix, [user_id], sole_sessions)
        except FAILURES as error:
            raise Unavailable(
                f"Redis cannot be reached ({type(error).__name__}); try again", code="store_unavailable"
            ) from error
        return [event for _, event in found]
