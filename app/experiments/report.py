"""How the slates of scenarios, variants and model versions do: figures with 95 % intervals, from sums that the store makes.

Shoppers, not impressions, are the independent units: what one shopper does in ten slates hangs together, and a variant is drawn for a
shopper. So every figure is a ratio of two sums over shoppers, with the variance of the delta method: Deng, Knoblich & Lu 2018,
"Applying the Delta Method in Metric Analytics", eq. 5 and section 2.2.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol

from scipy.special import stdtrit

from app.errors import Unavailable
from app.patience import Hold, hold_on
from app.types import Clock, utc_now

Dimension = Literal["scenario", "variant", "model_version"]
CONFIDENCE = 0.95
REPORT_SECONDS = 35.0  # more than the database itself gives a statement, so that it stops too


@dataclass(frozen=True, slots=True)
class RatioSums:
    """Sums over shoppers of a numerator y and a denominator x, of their squares and of their product."""

    y: float = 0.0
    x: float = 0.0
    yy: float = 0.0
    xy: float = 0.0
    xx: float = 0.0


@dataclass(frozen=True, slots=True)
class GroupSums:
    """One row of the report before statistics.

    scenario, variant, model_version: None where the report is not by it; a variant also where there was no experiment.
    clickers: shoppers with a click. clicks: clicked of shown items. purchases: bought of clicked items. revenue: currency -> money of
    slates.
    coverage: share of the catalogue's available items that were shown; None where the catalogue is empty.
    """

    scenario: str | None
    variant: str | None
    model_version: str | None
    slates: int
    shoppers: int
    clickers: int
    clicks: RatioSums
    purchases: RatioSums
    revenue: Mapping[str | None, RatioSums]
    coverage: float | None


@dataclass(frozen=True, slots=True)
class ReportSums:
    """groups: in the order of their names. is_cut: there are more groups, or more currencies in one, than were read."""

    groups: Sequence[GroupSums]
    total: GroupSums
    is_cut: bool


class ReportStore(Protocol):
    async def sums(self, since: datetime, until: datetime, by: Collection[Dimension]) -> ReportSums:
        """Of the slates shown from `since` to before `until`. Raises Unavailable."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """value: None where the denominator is 0. low, high: the 95 % interval; None with fewer than two shoppers in the denominator."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Revenue:
    currency: str | None
    value: float
    per_slate: Estimate


@dataclass(frozen=True, slots=True)
class Row:
    """clicks <= impressions and purchases <= clicks, always: all three count items of slates."""

    scenario: str | None
    variant: str | None
    model_version: str | None
    slates: int
    shoppers: int
    impressions: int
    clicks: int
    ctr: Estimate
    purchases: int
    cvr: Estimate
    revenue: Sequence[Revenue]
    coverage: float | None


@dataclass(frozen=True, slots=True)
class Report:
    since: datetime
    until: datetime
    by: Sequence[Dimension]
    rows: Sequence[Row]
    total: Row
    is_cut: bool


class Reporter:
    """Makes one report at a time: each may read months of slates, and feedback needs the same database."""

    def __init__(
        self,
        store: ReportStore,
        *,
        clock: Clock = utc_now,
        hold: Hold = hold_on,
        turn_seconds: float = REPORT_SECONDS,
    ) -> None:
        self._store = store
        self._clock = clock
        self._hold = hold
        self._turn_seconds = turn_seconds
        self._turn = asyncio.Lock()

    async def report(self, window: timedelta, by: Sequence[Dimension]) -> Report:
        """Of the slates shown in the last `window`. Raises Unavailable."""
        until = self._clock()
        since = until - window
        async with self._in_turn():
            sums = await self._hold(self._store.sums(since, until, by), REPORT_SECONDS)
        return Report(since, until, by, [row_of(group) for group in sums.groups], row_of(sums.total), sums.is_cut)

    @contextlib.asynccontextmanager
    async def _in_turn(self) -> AsyncIterator[None]:
        """Whoever gives up waiting leaves no work behind, or reports that nobody waits for would keep the next ones waiting."""
        try:
            async with asyncio.timeout(self._turn_seconds):
                await self._turn.acquire()
        except TimeoutError:
            raise Unavailable("other reports are being made; try again", code="store_unavailable") from None
        try:
            yield
        finally:
            self._turn.release()


def row_of(group: GroupSums) -> Row:
    n = group.shoppers
    return Row(
        scenario=group.scenario,
        variant=group.variant,
        model_version=group.model_version,
        slates=group.slates,
        shoppers=n,
        impressions=round(group.clicks.x),
        clicks=round(group.clicks.y),
        ctr=share(group.clicks, n),
        purchases=round(group.purchases.y),
        cvr=share(group.purchases, group.clickers),
        revenue=[Revenue(currency, sums.y, mean(sums, n)) for currency, sums in group.revenue.items()],
        coverage=group.coverage,
    )


def mean(sums: RatioSums, n: int) -> Estimate:
    """y / x of n shoppers and its interval by Student's t with n - 1 degrees of freedom."""
    if not sums.x:
        return Estimate(None, None, None)
    value = sums.y / sums.x
    if n < 2:
        return Estimate(value, None, None)
    margin = quantile(n) * math.sqrt(variance(sums, n))
    return Estimate(value, value - margin, value + margin)


def share(sums: RatioSums, n: int) -> Estimate:
    """y / x of the n shoppers with anything in x, where y is a part of x, and Wilson's interval for as many independent trials as the
    variance is worth.

    It stays within [0, 1] and does not shrink to a point where nobody or everybody did it: there a shopper counts as one trial. Never
    more trials than x. Source: Franco, Little, Louis & Slud 2019, "Comparative Study of Confidence Intervals for Proportions in Complex
    Sample Surveys".
    """
    if not sums.x:
        return Estimate(None, None, None)
    value = sums.y / sums.x
    if n < 2:
        return Estimate(value, None, None)
    spread = value * (1 - value)
    found = variance(sums, n)
    trials = min(sums.x, spread / found if found else sums.x) if spread else min(sums.x, n)
    t2 = quantile(n) ** 2
    centre = (value + t2 / (2 * trials)) / (1 + t2 / trials)
    margin = math.sqrt(t2 * (spread / trials + t2 / (4 * trials**2))) / (1 + t2 / trials)
    return Estimate(value, max(0.0, min(value, centre - margin)), min(1.0, max(value, centre + margin)))


def variance(sums: RatioSums, n: int) -> float:
    """Of y / x, by the delta method over n >= 2 shoppers."""
    ratio = sums.y / sums.x
    residuals = sums.yy - 2 * ratio * sums.xy + ratio**2 * sums.xx
    return max(0.0, residuals) / sums.x**2 * n / (n - 1)


def quantile(n: int) -> float:
    return float(stdtrit(n - 1, (1 + CONFIDENCE) / 2))
