"""The shared buckets in a real Redis."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from app.access.keys import ApiKey
from app.access.rate_limit import RateLimiter
from app.errors import Unavailable
from app.stores.redis.rate_limits import RedisTokenBank
from app.types import utc_now

PATIENT = 10.0  # seconds: what is tested is the bucket, on a machine that may be busy


async def test_processes_together_get_no_more_than_the_rate(redis_url: str) -> None:
    banks = [RedisTokenBank(redis_url, answer_seconds=PATIENT) for _ in range(3)]
    key = ApiKey(uuid.uuid4().hex, "shop", frozenset({"recommend"}), "digest", utc_now())
    limiters = [RateLimiter(bank, 240) for bank in banks]
    waits = await asyncio.gather(*(limiter.seconds_to_wait(key) for _ in range(300) for limiter in limiters))
    let_through = sum(wait == 0 for wait in waits)
    assert 230 <= let_through <= 250, "a bucket of 240, and what refilled meanwhile"
    assert all(0 < wait <= 60 for wait in waits if wait)
    for bank in banks:
        await bank.close()


async def test_a_bucket_leaves_redis_by_itself(redis_url: str) -> None:
    bank = RedisTokenBank(redis_url, uuid.uuid4().hex, PATIENT)
    grant = await bank.take("k", 5, 3)
    assert grant == (3, 0.0)
    assert await bank.take("k", 5, 3) == (2, 0.0)
    refused = await bank.take("k", 5, 3)
    assert refused.granted == 0
    assert 11 < refused.wait_seconds <= 12
    ttl = await bank._server.client.ttl(f"{bank._prefix}:rate:k")
    assert 0 < ttl <= 75
    await bank.close()


async def test_no_redis_is_unavailable_at_once() -> None:
    bank = RedisTokenBank("redis://127.0.0.1:1/0")
    for _ in range(2):
        with pytest.raises(Unavailable):
            await bank.take("k", 5, 1)
    await bank.close()
