"""Sums of a known log, worked out by hand."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncEngine

from app.catalogue.item import Item
from app.errors import Unavailable
from app.experiments.report import Dimension, Estimate, RatioSums, Report, Reporter, Row
from app.feedback.event import Event, Impression
from app.stores.postgres import report as store
from app.stores.postgres.catalogue import PostgresCatalogue
from app.stores.postgres.engine import begin, create_engine
from app.stores.postgres.erasing import PostgresErasure
from app.stores.postgres.events import PostgresEvents
from app.stores.postgres.impressions import PostgresImpressions
from app.stores.postgres.report import PostgresReport
from app.stores.postgres.tables import items

NOW = datetime.now(UTC).replace(microsecond=0)
NUMBERS = itertools.count()
ALL: Sequence[Dimension] = ("scenario", "variant", "model_version")


class Shop:
    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.impressions = PostgresImpressions(engine)
        self.events = PostgresEvents(engine)

    async def show(
        self, slate: str, item_ids: str, user_id: str | None = None, hours_ago: float = 24, scenario: str = "home",
        variant: str | None = None, model_version: str = "m1", session_id: str | None = None,
    ) -> None:  # fmt: skip
        at, ones = NOW - timedelta(hours=hours_ago), (1.0,) * len(item_ids)
        await self.impressions.write([
            Impression(slate, scenario, model_version, at, tuple(item_ids), ones, ones, user_id, session_id, variant)
        ])  # fmt: skip

    async def act(
        self, kind: str, slate: str | None, item_id: str, value: float | None = None, currency: str | None = None,
        user_id: str = "u", hours_ago: float = 1,
    ) -> str:  # fmt: skip
        event_id = f"e{next(NUMBERS)}"
        at = NOW - timedelta(hours=hours_ago)
        await self.events.append(
            [Event(event_id, kind, item_id, at, user_id, recommendation_id=slate, value=value, currency=currency)]
        )
        return event_id

    async def report(self, *by: Dimension, hours: float = 168) -> Report:
        return await Reporter(PostgresReport(self.engine), clock=lambda: NOW).report(timedelta(hours=hours), by)

    async def total(self) -> Row:
        return (await self.report()).total


@pytest.fixture
def shop(engine: AsyncEngine) -> Shop:
    return Shop(engine)


def counts(row: Row) -> tuple[int, int, int, int, int]:
    return row.slates, row.shoppers, row.impressions, row.clicks, row.purchases


def money(row: Row) -> dict[str | None, float]:
    return {revenue.currency: revenue.value for revenue in row.revenue}


async def test_nothing_at_all(shop: Shop) -> None:
    report = await shop.report(*ALL)
    assert (report.rows, report.is_cut, report.until - report.since) == ([], False, timedelta(days=7))
    total = report.total
    assert counts(total) == (0, 0, 0, 0, 0)
    assert (total.ctr.value, total.cvr.value, total.revenue, total.coverage) == (None, None, [], None)


async def test_slates_without_any_event(shop: Shop) -> None:
    await shop.show("r1", "abc", "u")
    await shop.show("r2", "", "v")
    total = await shop.total()
    assert counts(total) == (2, 2, 3, 0, 0)
    assert (total.ctr.value, total.cvr.value, total.revenue) == (0.0, None, [])


async def test_an_item_of_a_slate_counts_once_however_often_it_is_clicked(shop: Shop) -> None:
    await shop.show("r1", "abc", "u")
    await shop.show("r2", "abc", "u")
    for slate, item_id in (("r1", "a"), ("r1", "a"), ("r1", "b"), ("r2", "a")):
        await shop.act("click", slate, item_id)
    assert counts(await shop.total()) == (2, 1, 6, 3, 0)


async def test_what_is_put_into_the_cart_or_bought_without_a_click_counts_as_clicked(shop: Shop) -> None:
    await shop.show("r1", "abcde", "u")
    await shop.act("click", "r1", "a")
    await shop.act("purchase", "r1", "a", 5.0)
    await shop.act("purchase", "r1", "b", 7.0)
    await shop.act("cart_add", "r1", "c")
    await shop.act("like", "r1", "d")
    total = await shop.total()
    assert counts(total) == (1, 1, 5, 3, 2)
    assert total.cvr.value == pytest.approx(2 / 3)


async def test_what_no_slate_of_the_window_showed_counts_nowhere(shop: Shop) -> None:
    await shop.show("r1", "ab", "u")
    await shop.show("old", "ab", "u", hours_ago=200)
    await shop.show("coming", "ab", "u", hours_ago=-1)
    for slate in ("old", "foreign", None):
        await shop.act("purchase", slate, "a", 100.0)
    await shop.act("purchase", "r1", "z", 100.0)
    await shop.act("view", "r1", "a")
    assert counts(await shop.total()) == (1, 1, 2, 0, 0)
    assert money(await shop.total()) == {}
    assert counts((await shop.report(hours=300)).total) == (2, 1, 4, 1, 1)


async def test_the_slates_time_counts_not_the_events(shop: Shop) -> None:
    await shop.show("before", "a", "u", hours_ago=2.01)
    await shop.show("after", "a", "u", hours_ago=1.99)
    for slate in ("before", "after"):
        await shop.act("click", slate, "a", hours_ago=0)
    await shop.show("skewed", "a", "u", hours_ago=1.98)
    await shop.act("click", "skewed", "a", hours_ago=2.5)  # by the storefront's clock
    assert counts((await shop.report(hours=2)).total) == (2, 1, 2, 2, 0)


async def test_retracted_events_never_count(shop: Shop) -> None:
    await shop.show("r1", "ab", "u")
    for kind, item_id in (("click", "a"), ("purchase", "b"), ("impression", "a")):
        await shop.events.retract(await shop.act(kind, "r1", item_id, 3.0))
    total = await shop.total()
    assert (counts(total), money(total)) == ((1, 1, 2, 0, 0), {})


async def test_a_storefront_that_says_what_it_showed_showed_that(shop: Shop) -> None:
    await shop.show("r1", "abcde", "u")
    await shop.show("r2", "abcde", "u")
    for item_id in ("a", "a", "b", "z"):
        await shop.act("impression", "r1", item_id)
    await shop.act("click", "r1", "c")
    assert counts(await shop.total()) == (2, 1, 3 + 5, 1, 0)


async def test_money_is_summed_by_currency_over_every_purchase(shop: Shop) -> None:
    await shop.show("r1", "ab", "u")
    await shop.show("r2", "ab", "v")
    await shop.act("purchase", "r1", "a", 10.0, "EUR")
    await shop.act("purchase", "r1", "a", 2.5, "EUR")
    await shop.act("purchase", "r2", "a", 4.0, "EUR")
    await shop.act("purchase", "r2", "b", 99.0, "GBP")
    await shop.act("purchase", "r2", "b", 1.0)
    await shop.act("purchase", "r1", "b")
    total = await shop.total()
    assert counts(total) == (2, 2, 4, 4, 4)
    assert money(total) == {None: 1.0, "EUR": 16.5, "GBP": 99.0}
    euro = total.revenue[1].per_slate
    assert euro.value == 8.25
    # two shoppers, 12.5 and 4 of one slate each: a standard error of 4.25, and t(0.975) of one degree of freedom
    assert (euro.low, euro.high) == (pytest.approx(8.25 - 12.7062 * 4.25, rel=1e-5), pytest.approx(8.25 + 12.7062 * 4.25, rel=1e-5))  # fmt: skip


@pytest.mark.parametrize("value", [1e-300, -1e-300, 5e-324, 1e300, -1.7e308, float("inf"), float("nan")])
async def test_what_is_no_amount_of_money_does_not_break_the_report(shop: Shop, value: float) -> None:
    await shop.show("r1", "ab", "u")
    await shop.act("purchase", "r1", "a", 3.0, "EUR")
    for item_id in "ab":
        await shop.act("purchase", "r1", item_id, value, "EUR")
    total = await shop.total()
    assert (counts(total), money(total)) == ((1, 1, 2, 2, 2), {"EUR": 3.0})


async def test_what_was_free_is_revenue_of_nothing(shop: Shop) -> None:
    await shop.show("r1", "a", "u")
    await shop.act("purchase", "r1", "a", 0.0, "EUR")
    assert money(await shop.total()) == {"EUR": 0.0}


async def test_sums_are_over_shoppers(shop: Shop) -> None:
    """u: 2 slates, 5 shown, 2 clicked, 1 bought for 6. s: 1 slate, 2 shown, 1 clicked. Two slates of nobody: 1 shown each."""
    await shop.show("r1", "abc", "u", session_id="s")
    await shop.show("r2", "ab", "u")
    await shop.show("r3", "ab", session_id="s")
    await shop.show("r4", "a")
    await shop.show("r5", "a")
    await shop.act("click", "r1", "a")
    await shop.act("purchase", "r2", "b", 6.0, "EUR")
    await shop.act("click", "r3", "a")
    sums = await PostgresReport(shop.engine).sums(NOW - timedelta(days=7), NOW, [])
    assert (sums.groups, sums.total.slates, sums.total.shoppers) == ([], 5, 4)
    assert sums.total.clicks == RatioSums(3, 9, 4 + 1, 10 + 2, 25 + 4 + 1 + 1)
    assert sums.total.purchases == RatioSums(1, 3, 1, 2, 4 + 1)
    assert sums.total.revenue == {"EUR": RatioSums(6, 5, 36, 12, 4 + 1 + 1 + 1)}


async def test_a_cvr_rests_on_the_shoppers_who_clicked(shop: Shop) -> None:
    for n in range(50):
        await shop.show(f"r{n}", "abcd", f"u{n}")
    for item_id in "abcd":
        await shop.act("purchase", "r0", item_id)
    total = await shop.total()
    assert (total.ctr.low is not None, total.cvr) == (True, Estimate(1.0, None, None))
    await shop.act("purchase", "r1", "a")
    cvr = (await shop.total()).cvr
    assert (cvr.value, cvr.low) == (1.0, pytest.approx(2 / (2 + 12.7062**2), rel=1e-4))  # two trials, t of one degree


async def test_rows_by_scenario_variant_and_version_and_a_total_that_counts_shoppers_once(shop: Shop) -> None:
    await shop.show("r1", "abcd", "u", variant="x")
    await shop.show("r2", "ab", "v", variant="y", model_version="m2")
    await shop.show("r3", "a", "u", scenario="cart")
    await shop.show("r4", "a", "w", scenario="cart", model_version="m2")
    await shop.act("click", "r1", "a")
    await shop.act("purchase", "r2", "b", 6.0, "EUR")
    await shop.act("purchase", "r4", "a", 3.0, "EUR")

    by_all = await shop.report(*ALL)
    assert {(row.scenario, row.variant, row.model_version): counts(row) for row in by_all.rows} == {
        ("cart", None, "m1"): (1, 1, 1, 0, 0),
        ("cart", None, "m2"): (1, 1, 1, 1, 1),
        ("home", "x", "m1"): (1, 1, 4, 1, 0),
        ("home", "y", "m2"): (1, 1, 2, 1, 1),
    }
    assert [row.scenario for row in by_all.rows] == ["cart", "cart", "home", "home"]
    assert [money(row) for row in by_all.rows] == [{}, {"EUR": 3.0}, {}, {"EUR": 6.0}]
    by_variant = await shop.report("variant")
    assert [(row.scenario, row.variant, counts(row)) for row in by_variant.rows] == [
        (None, None, (2, 2, 2, 1, 1)), (None, "x", (1, 1, 4, 1, 0)), (None, "y", (1, 1, 2, 1, 1)),
    ]  # fmt: skip
    by_version = await shop.report("model_version", "scenario")
    assert [(row.scenario, row.model_version) for row in by_version.rows] == [
        ("cart", "m1"), ("cart", "m2"), ("home", "m1"), ("home", "m2"),
    ]  # fmt: skip
    for report in (by_all, by_variant, by_version, await shop.report()):
        assert (counts(report.total), money(report.total)) == ((4, 3, 8, 3, 2), {"EUR": 9.0})


async def test_coverage_is_of_what_can_be_shown_now(shop: Shop) -> None:
    later, earlier = NOW + timedelta(days=1), NOW - timedelta(days=1)
    sold = [Item(item_id=name, title=name) for name in "abcdef"]
    sold[2] = replace(sold[2], available=False)
    sold[3] = replace(sold[3], expires_at=earlier)
    sold[4] = replace(sold[4], published_at=later)
    await PostgresCatalogue(shop.engine).upsert_items(sold)
    await shop.show("r1", "acdez", "u")
    await shop.show("r2", "az", "v")
    await shop.show("r3", "f", "v", scenario="cart")
    await shop.act("click", "r1", "z")  # makes a stub
    report = await shop.report("scenario")
    assert {row.scenario: row.coverage for row in report.rows} == {"cart": 1 / 3, "home": 1 / 3}
    assert report.total.coverage == 2 / 3
    async with begin(shop.engine) as connection:
        await connection.execute(update(items).values(available=False))
    assert (await shop.report()).total.coverage is None


async def test_what_an_erased_user_did_is_gone_and_the_slates_stay(shop: Shop) -> None:
    await shop.show("r1", "ab", "u")
    await shop.show("r2", "ab", "u")
    await shop.show("r3", "ab", "v")
    await shop.act("purchase", "r1", "a", 4.0, "EUR")
    await shop.act("click", "r3", "b", user_id="v")
    assert await PostgresErasure(shop.engine).erase("u", lambda *_: []) is not None
    total = await shop.total()
    assert (counts(total), money(total)) == ((3, 2, 6, 1, 0), {})


async def test_more_rows_or_currencies_than_there_may_be_are_cut_and_said(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MAX_GROUPS", 2)
    monkeypatch.setattr(store, "MAX_CURRENCIES", 2)
    for number, scenario in enumerate(("b", "a", "c", "c", "b")):
        await shop.show(f"r{number}", "x", "u", scenario=scenario)
    report = await shop.report("scenario")
    assert ([row.scenario for row in report.rows], report.is_cut, report.total.slates) == (["b", "c"], True, 5)
    await shop.act("purchase", "r1", "x", 1.0, "EUR")
    await shop.act("purchase", "r1", "x", 1.0, "GBP")
    assert not (await shop.report()).is_cut
    await shop.act("purchase", "r1", "x", 1.0, "USD")
    report = await shop.report()
    assert (report.is_cut, sorted(money(report.total))) == (True, ["EUR", "GBP"])


async def test_rows_that_nothing_is_known_of_yet_are_joined_in_one_pass(shop: Shop, database_url: str) -> None:
    """Row by row it would be 400 million comparisons: minutes."""
    numbers = "FROM generate_series(1, 20000) AS n"
    async with begin(shop.engine) as connection:
        await connection.execute(
            text(
                "INSERT INTO impressions (recommendation_id, scenario, model_version, shown_at, item_ids, scores, propensities)"
                f"SELECT 'r' || n, 'home', 'm1', now() - interval '1 hour', '{{a,b}}', '{{1,1}}', '{{1,1}}' {numbers}"
            )
        )
        await connection.execute(
            text(
                "INSERT INTO events (event_id, type, item_id, user_id, recommendation_id, occurred_at)"
                f"SELECT 'e' || n, 'click', 'a', 'u', 'r' || n, now() {numbers}"
            )
        )
    impatient = create_engine(database_url, statement_seconds=10)
    assert counts((await Shop(impatient).report()).total) == (20_000, 20_000, 40_000, 20_000, 0)
    await impatient.dispose()


async def test_a_report_that_takes_too_long_says_what_to_do(shop: Shop, database_url: str) -> None:
    impatient = create_engine(database_url, statement_seconds=1)
    async with begin(shop.engine) as connection:
        await connection.execute(text("LOCK TABLE impressions IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(Unavailable, match="shorter window"):
            await Shop(impatient).report()
    await impatient.dispose()


async def test_a_database_that_is_away_is_unavailable() -> None:
    engine = create_engine("postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(Unavailable):
        await Reporter(PostgresReport(engine)).report(timedelta(days=1), [])
    await engine.dispose()
