"""Figures and intervals against independent ways to them: resampled shoppers, and worlds whose rates are known."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Coroutine
from datetime import datetime, timedelta
from typing import Any, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from app.errors import Unavailable
from app.experiments.report import (
    Dimension,
    Estimate,
    GroupSums,
    RatioSums,
    Reporter,
    ReportSums,
    mean,
    row_of,
    share,
)

Counts = NDArray[np.float64]
T = TypeVar("T")


def sums_of(y: Counts, x: Counts) -> RatioSums:
    return RatioSums(y.sum(), x.sum(), (y * y).sum(), (x * y).sum(), (x * x).sum())


def shoppers(rng: np.random.Generator, n: int, rate: float) -> tuple[Counts, Counts]:
    """Clicks and impressions: who sees more clicks less, and some always click more than others (beta of 1.5 + …)."""
    shown = 10.0 * (1 + rng.poisson(3, n))
    own = rng.beta(1.5, 1.5 * (1 - rate) / rate, n)
    return rng.binomial(shown.astype(int), own).astype(float), shown


def bootstrap(rng: np.random.Generator, y: Counts, x: Counts, times: int = 4_000) -> tuple[float, float]:
    drawn = rng.integers(0, len(x), (times, len(x)))
    low, high = np.quantile(y[drawn].sum(1) / x[drawn].sum(1), [0.025, 0.975])
    return float(low), float(high)


def test_a_share_has_the_interval_that_resampled_shoppers_have() -> None:
    rng = np.random.default_rng(1)
    y, x = shoppers(rng, 400, 0.08)
    found = share(sums_of(y, x), len(x))
    low, high = bootstrap(rng, y, x)
    width = high - low
    assert found.value == pytest.approx(y.sum() / x.sum())
    assert found.low == pytest.approx(low, abs=0.1 * width)
    assert found.high == pytest.approx(high, abs=0.1 * width)
    binomial = 2 * 1.96 * math.sqrt(0.08 * 0.92 / x.sum())
    assert width > 1.5 * binomial  # that of independent impressions would promise too much here


def test_money_of_a_slate_has_the_interval_that_resampled_shoppers_have() -> None:
    rng = np.random.default_rng(2)
    slates = 1.0 + rng.poisson(4, 500)
    money = np.round(rng.binomial(slates.astype(int), 0.2) * rng.lognormal(2, 0.7, 500), 2)
    found = mean(sums_of(money, slates), 500)
    low, high = bootstrap(rng, money, slates)
    assert found.value == pytest.approx(money.sum() / slates.sum())
    assert found.low == pytest.approx(low, abs=0.1 * (high - low))
    assert found.high == pytest.approx(high, abs=0.1 * (high - low))


@pytest.mark.parametrize(("n", "rate", "least"), [(12, 0.1, 0.92), (40, 0.02, 0.92), (300, 0.05, 0.93)])
def test_95_of_100_intervals_hold_the_true_rate(n: int, rate: float, least: float) -> None:
    rng = np.random.default_rng(3)
    held = []
    for _ in range(1_500):
        found = share(sums_of(*shoppers(rng, n, rate)), n)
        assert found.low is not None
        assert found.high is not None
        held.append(found.low <= rate <= found.high)
    assert least < np.mean(held) < 0.985


def test_95_of_100_intervals_hold_the_true_cvr_where_few_shoppers_click() -> None:
    rng = np.random.default_rng(5)
    held = []
    for _ in range(1_500):
        clicks = np.where(rng.random(300) < 0.02, 1.0 + rng.poisson(4, 300), 0.0)
        bought = rng.binomial(clicks.astype(int), rng.beta(0.5, 2.0, 300)).astype(float)
        clickers = int(np.count_nonzero(clicks))
        found = row_of(
            GroupSums(None, None, None, 300, 300, clickers, RatioSums(), sums_of(bought, clicks), {}, None)
        ).cvr
        assert (found.low is None) == (clickers < 2)
        if found.low is not None and found.high is not None:
            held.append(found.low <= 0.2 <= found.high)
    assert 0.93 < np.mean(held) < 0.99


def test_the_delta_method_by_hand() -> None:
    """Clicks 1, 0, 2 of 4, 2, 4 impressions: rate .3, residuals -.2, -.6, .8, so a variance of 1.04 / 100 * 3 / 2."""
    found = mean(RatioSums(3, 10, 5, 12, 36), 3)
    margin = 4.302653 * math.sqrt(0.0156)  # t(0.975) of two degrees of freedom
    assert found == Estimate(pytest.approx(0.3), pytest.approx(0.3 - margin), pytest.approx(0.3 + margin))


@pytest.mark.parametrize("clicks", [0.0, 1.0])
def test_where_nobody_or_everybody_clicked_a_shopper_is_one_trial(clicks: float) -> None:
    found = share(sums_of(np.full(50, 20 * clicks), np.full(50, 20.0)), 50)
    width = 2.009575**2 / (50 + 2.009575**2)  # Wilson, t(0.975) of 49 degrees of freedom
    assert (found.value, found.low, found.high) == (
        (0.0, 0.0, pytest.approx(width)) if clicks == 0 else (1.0, pytest.approx(1 - width), 1.0)
    )


def test_an_interval_is_never_narrower_than_that_of_independent_impressions() -> None:
    found = share(sums_of(np.full(40, 5.0), np.full(40, 10.0)), 40)  # all shoppers exactly alike
    assert found.high is not None
    assert found.high - 0.5 == pytest.approx(2.0227 / 2 / math.sqrt(400 + 2.0227**2), rel=1e-3)


@pytest.mark.parametrize("estimate", [mean, share])
def test_nothing_to_divide_by_and_a_single_shopper(estimate: object) -> None:
    assert callable(estimate)
    assert estimate(RatioSums(), 0) == Estimate(None, None, None)
    assert estimate(RatioSums(), 5) == Estimate(None, None, None)
    assert estimate(RatioSums(1, 4, 1, 4, 16), 1) == Estimate(0.25, None, None)


def test_shares_stay_within_their_bounds_whatever_few_shoppers_do() -> None:
    rng = np.random.default_rng(4)
    for _ in range(2_000):
        n = int(rng.integers(2, 6))
        x = rng.integers(0, 8, n).astype(float)
        y = rng.binomial(x.astype(int), rng.random()).astype(float)
        found = share(sums_of(y, x), n)
        if x.sum():
            assert found.low is not None
            assert found.value is not None
            assert found.high is not None
            assert 0 <= found.low <= found.value <= found.high <= 1


class SlowStore:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.num_asked = 0
        self.answers = asyncio.Event()

    async def sums(self, since: datetime, until: datetime, by: Collection[Dimension]) -> ReportSums:
        self.num_asked += 1
        await self.answers.wait()
        return ReportSums([], GroupSums(None, None, None, 0, 0, 0, RatioSums(), RatioSums(), {}, None), is_cut=False)


async def test_who_waits_too_long_for_a_turn_is_told_and_leaves_no_work_behind() -> None:
    async def hold(work: Coroutine[Any, Any, T], seconds: float) -> T:
        """As the pulse of the database does it: work that is not waited for any more goes on."""
        return await asyncio.wait_for(asyncio.shield(work), 5)

    store = SlowStore()
    reporter = Reporter(store, hold=hold, turn_seconds=0.05)
    first = asyncio.create_task(reporter.report(timedelta(days=1), []))
    await asyncio.sleep(0)
    for _ in range(3):
        with pytest.raises(Unavailable, match="other reports"):
            await reporter.report(timedelta(days=1), [])
    store.answers.set()
    await first
    await reporter.report(timedelta(days=1), [])
    assert store.num_asked == 2
