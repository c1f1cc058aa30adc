"""The live user state in Redis, derived from Postgres."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from app.feedback.event import EVENT_WEIGHTS
from app.settings import Settings
from app.stores.redis.bridge import RedisBridge
from app.stores.redis.consistency import Comparison, compare
from app.stores.redis.live_state import RedisLiveState
from app.wiring.stores import Stores
from app.wiring.urls import redis_url_of

__all__ = ["Comparison", "compare", "make_bridge", "open_live_state"]


def make_bridge(settings: Settings) -> RedisBridge | None:
    """Where events wait while Postgres is away; None when that is switched off."""
    if not settings.max_bridged_events:
        return None
    return RedisBridge(redis_url_of(settings), max_events=settings.max_bridged_events)


@contextlib.asynccontextmanager
async def open_live_state(settings: Settings, stores: Stores) -> AsyncIterator[RedisLiveState]:
    live_state = RedisLiveState(
        redis_url_of(settings),
        events=stores.events,
        subjects=stores.subjects,
        revisions=stores.revisions,
        weights={**EVENT_WEIGHTS, **settings.event_types},
        hold=stores.pulse.hold,
        cipher=stores.cipher,
    )
    await live_state.start()
    try:
        yield live_state
    finally:
        await live_state.close()
