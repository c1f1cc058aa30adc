"""Requests of a key: bought from the bank in shares, counted alone while the bank is away."""

from dataclasses import dataclass, field

from app.access.key_ring import key_of_settings
from app.access.keys import ApiKey
from app.access.rate_limit import Bucket, Grant, RateLimiter
from app.errors import Unavailable
from app.types import utc_now

KEY = ApiKey("k1", "shop", frozenset({"recommend"}), "digest", utc_now())


@dataclass
class Clock:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Bank:
    """One bucket for each key, as Redis keeps them. is_away: nobody answers."""

    clock: Clock
    is_away: bool = False
    asked: int = 0
    buckets: dict[str, Bucket] = field(default_factory=dict)

    async def take(self, key_id: str, per_minute: int, wanted: int) -> Grant:
        self.asked += 1
        if self.is_away:
            raise Unavailable("gone")
        return self.buckets.setdefault(key_id, Bucket(per_minute, self.clock())).take(per_minute, wanted, self.clock())


async def count_let_through(limiter: RateLimiter, times: int, key: ApiKey = KEY) -> int:
    return sum([not await limiter.seconds_to_wait(key) for _ in range(times)])


async def test_no_more_than_the_rate_goes_through_and_time_brings_more() -> None:
    clock = Clock()
    limiter = RateLimiter(Bank(clock), 6, clock)
    assert await count_let_through(limiter, 20) == 6
    assert 9 < await limiter.seconds_to_wait(KEY) <= 10
    clock.now += 10
    assert await count_let_through(limiter, 20) == 1
    clock.now += 3_600
    assert await count_let_through(limiter, 20) == 6


async def test_two_processes_share_one_rate() -> None:
    clock = Clock()
    bank = Bank(clock)
    processes = [RateLimiter(bank, 600, clock) for _ in range(2)]
    let_through = [await count_let_through(limiter, 1_000) for limiter in processes]
    assert sum(let_through) == 600


async def test_a_share_is_spent_without_asking_and_lost_when_it_is_old() -> None:
    clock = Clock()
    bank = Bank(clock)
    limiter = RateLimiter(bank, 12_000, clock)
    assert await count_let_through(limiter, 100) == 100
    assert bank.asked == 1
    clock.now += 60
    assert await count_let_through(limiter, 1) == 1
    assert bank.asked == 2


async def test_who_was_refused_does_not_ask_again_before_a_request_can_be_there() -> None:
    clock = Clock()
    bank = Bank(clock)
    limiter = RateLimiter(bank, 1, clock)
    assert await count_let_through(limiter, 1_000) == 1
    assert bank.asked == 2


async def test_without_the_bank_the_process_counts_alone() -> None:
    clock = Clock()
    bank = Bank(clock, is_away=True)
    limiter = RateLimiter(bank, 6, clock)
    assert await count_let_through(limiter, 20) == 6
    bank.is_away = False
    clock.now += 60
    assert await count_let_through(limiter, 20) == 6


async def test_a_key_may_have_a_rate_of_its_own_and_without_any_nobody_is_asked() -> None:
    clock = Clock()
    bank = Bank(clock)
    unlimited = RateLimiter(bank, 0, clock)
    assert await count_let_through(unlimited, 50) == 50
    assert bank.asked == 0
    own = ApiKey("k2", "crawler", KEY.scopes, "digest", utc_now(), rate_limit_per_minute=2)
    assert await count_let_through(unlimited, 50, own) == 2
    assert await count_let_through(RateLimiter(bank, 1, clock), 50, key_of_settings("an-admin-key", "")) == 1
