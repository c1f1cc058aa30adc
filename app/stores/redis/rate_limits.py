"""The shared buckets of `app.access.rate_limit` in Redis: one key for each API key that has a rate, gone a minute after its last use."""

from __future__ import annotations

import asyncio

from app.access.rate_limit import Grant
from app.errors import Unavailable
from app.stores.redis.client import FAILURES, Server

ANSWER_SECONDS = 0.03
TTL_SECONDS = 75  # a bucket is full again after 60

# KEYS bucket; ARGV capacity, requests wanted, ttl. Redis' own clock, because those of processes differ.
TAKE = """
local now = redis.call('TIME')
now = now[1] + now[2] / 1e6
local capacity, wanted = tonumber(ARGV[1]), tonumber(ARGV[2])
local state = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = math.min(capacity, tonumber(state[1] or capacity) + (now - tonumber(state[2] or now)) * capacity / 60)
local granted = math.min(wanted, math.floor(tokens))
tokens = tokens - granted
redis.call('HSET', KEYS[1], 'tokens', tostring(tokens), 'at', string.format('%.6f', now))
redis.call('EXPIRE', KEYS[1], ARGV[3])
local wait = 0
if granted == 0 then wait = math.ceil((1 - tokens) * 60000 / capacity) end
return {granted, wait}
"""


class RedisTokenBank:
    def __init__(self, redis_url: str, prefix: str = "duoscene", answer_seconds: float = ANSWER_SECONDS) -> None:
        self._answer_seconds = answer_seconds
        self._server = Server(redis_url, timeout_seconds=answer_seconds)
        self._prefix = prefix

    async def close(self) -> None:
        await self._server.close()

    async def take(self, key_id: str, per_minute: int, wanted: int) -> Grant:
        """One round trip of at most answer_seconds."""
        if not self._server.may_be_asked():
            raise Unavailable("Redis is left alone for a moment")
        try:
            async with asyncio.timeout(self._answer_seconds):
                granted, wait_ms = await self._server.client.eval(
                    TAKE, 1, f"{self._prefix}:rate:{key_id}", per_minute, wanted, TTL_SECONDS
                )
        except FAILURES as error:
            self._server.rest(f"a rate limit: {type(error).__name__}")
            raise Unavailable("Redis does not answer") from error
        return Grant(granted, wait_ms / 1000)
