"""How often a key may call: a bucket of one minute's requests that refills steadily, shared by all processes through Redis.

A process buys requests from the shared bucket a share at a time and spends them without asking, so most requests cost no
round trip; what it bought and did not spend within SHARE_SECONDS is lost. While Redis is away each process keeps a bucket of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import NamedTuple, Protocol

from app.access.keys import ApiKey
from app.errors import Unavailable

SHARES_PER_MINUTE = 120  # a share is half a second's worth: the loss of an unspent one stays small
SHARE_SECONDS = 2.0
MAX_KEYS = 10_000


class Grant(NamedTuple):
    """granted: requests bought. wait_seconds: until the next one is there; 0 where some were bought."""

    granted: int
    wait_seconds: float


class TokenBank(Protocol):
    async def take(self, key_id: str, per_minute: int, wanted: int) -> Grant:
        """Raises Unavailable."""


@dataclass(slots=True)
class Bucket:
    """Starts full."""

    tokens: float
    at: float

    def take(self, per_minute: int, wanted: int, now: float) -> Grant:
        self.tokens = min(float(per_minute), self.tokens + (now - self.at) * per_minute / 60)
        self.at = now
        granted = min(wanted, int(self.tokens))
        self.tokens -= granted
        return Grant(granted, 0.0 if granted else (1 - self.tokens) * 60 / per_minute)


@dataclass(slots=True)
class Share:
    """What this process holds of one key's requests."""

    left: int = 0
    good_until: float = 0.0
    refused_until: float = 0.0
    alone: Bucket | None = None  # while the bank is away
    buying: asyncio.Lock = field(default_factory=asyncio.Lock)


class RateLimiter:
    """per_minute: for keys without a rate of their own; 0: any number."""

    def __init__(self, bank: TokenBank, per_minute: int, clock: Callable[[], float] = monotonic) -> None:
        self._bank = bank
        self._per_minute = per_minute
        self._clock = clock
        self._shares: dict[str, Share] = {}

    async def seconds_to_wait(self, key: ApiKey) -> float:
        """0: the request may go on and counts; else it does not count."""
        per_minute = self._per_minute if key.rate_limit_per_minute is None else key.rate_limit_per_minute
        if not per_minute:
            return 0.0
        share = self._share_of(key)
        if self._spend(share):
            return 0.0
        async with share.buying:
            if self._spend(share):  # bought by somebody while we stood in line
                return 0.0
            if (waiting := share.refused_until - self._clock()) > 0:
                return waiting
            return await self._buy(share, key, per_minute)

    def _share_of(self, key: ApiKey) -> Share:
        if key.key_id not in self._shares and len(self._shares) >= MAX_KEYS:
            self._shares.clear()
        return self._shares.setdefault(key.key_id, Share())

    def _spend(self, share: Share) -> bool:
        if share.left < 1 or self._clock() > share.good_until:
            return False
        share.left -= 1
        return True

    async def _buy(self, share: Share, key: ApiKey, per_minute: int) -> float:
        wanted = max(1, per_minute // SHARES_PER_MINUTE)
        try:
            grant = await self._bank.take(key.key_id, per_minute, wanted)
            share.alone = None
        except Unavailable:
            if share.alone is None:
                share.alone = Bucket(float(per_minute), self._clock())
            grant = share.alone.take(per_minute, wanted, self._clock())
        now = self._clock()
        share.left, share.good_until = max(0, grant.granted - 1), now + SHARE_SECONDS
        share.refused_until = now + grant.wait_seconds
        return grant.wait_seconds
