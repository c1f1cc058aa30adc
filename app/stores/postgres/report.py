"""`ReportStore`: one statement, from slates to sums over shoppers; no row of a shopper or a slate leaves the database."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, DateTime, Double, Integer, Row, bindparam, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from app.errors import Unavailable
from app.experiments.report import Dimension, GroupSums, RatioSums, ReportSums
from app.stores.postgres.engine import begin, sqlstate

MAX_GROUPS = 1_000
MAX_CURRENCIES = 50  # of one group
LEAST_MONEY, MOST_MONEY = 1e-100, 1e100  # PostgreSQL refuses the square of what lies beyond
CANCELLED = "57014"  # by the statement timeout, as a rule
# Where nothing is known yet of fresh rows (an import, the last minutes), PostgreSQL expects one slate and one event, and goes through all
# events again for each slate.
TUNING = text("SET LOCAL enable_nestloop = off")
# key: scenario, variant and model version, each null where the report is not by it. An array, because equal keys with nulls in them are
# equal there. place: of a key by its slates, 0 for the total. shopper: a digest of 64 bits, which counts and sums faster than a name.
# shown: where the storefront says what it showed, that and what was acted on; otherwise the whole slate.
# A storefront's clock may be an hour behind this service's.
SUMS = text("""
    WITH slates AS MATERIALIZED (
        SELECT recommendation_id, item_ids,
               ARRAY[CASE WHEN :by_scenario THEN scenario END, CASE WHEN :by_variant THEN variant END,
                     CASE WHEN :by_model_version THEN model_version END] AS key,
               hashtextextended(coalesce('u' || user_id, 's' || session_id, 'r' || recommendation_id), 0) AS shopper
        FROM impressions WHERE shown_at >= :since AND shown_at < :until
    ), places AS MATERIALIZED (
        SELECT key, row_number() OVER (ORDER BY count(*) DESC, key) AS place FROM slates GROUP BY key
    ), acts AS MATERIALIZED (
        SELECT recommendation_id, item_id, type, currency, value
        FROM slates JOIN events USING (recommendation_id)
        WHERE type IN ('impression', 'click', 'cart_add', 'purchase') AND retracted_at IS NULL
        AND occurred_at >= :since - interval '1 hour' AND item_id = ANY(item_ids)
    ), done AS (
        SELECT recommendation_id, array_agg(item_id) AS items, bool_or(is_reported) AS is_reported,
               count(*) FILTER (WHERE is_clicked) AS clicks, count(*) FILTER (WHERE is_bought) AS purchases
        FROM (
            SELECT recommendation_id, item_id, bool_or(type = 'impression') AS is_reported,
                   bool_or(type <> 'impression') AS is_clicked, bool_or(type = 'purchase') AS is_bought
            FROM acts GROUP BY recommendation_id, item_id
        ) AS of_items GROUP BY recommendation_id
    ), outcomes AS MATERIALIZED (
        SELECT recommendation_id, place, shopper, CASE WHEN is_reported THEN items ELSE item_ids END AS shown,
               coalesce(clicks, 0) AS clicks, coalesce(purchases, 0) AS purchases
        FROM slates JOIN places USING (key) LEFT JOIN done USING (recommendation_id)
    ), shoppers AS MATERIALIZED (
        SELECT coalesce(place, 0) AS place, shopper, count(*)::float8 AS slates, sum(cardinality(shown))::float8 AS shown,
               sum(clicks)::float8 AS clicks, sum(purchases)::float8 AS purchases
        FROM outcomes GROUP BY GROUPING SETS ((place, shopper), (shopper))
    ), counts AS (
        SELECT place, count(*) AS shoppers, count(*) FILTER (WHERE clicks > 0) AS clickers, sum(slates) AS slates,
               sum(shown) AS shown, sum(clicks) AS clicks, sum(purchases) AS purchases,
               sum(shown * shown) AS shown_shown, sum(shown * clicks) AS shown_clicks, sum(clicks * clicks) AS clicks_clicks,
               sum(clicks * purchases) AS clicks_purchases, sum(purchases * purchases) AS purchases_purchases,
               sum(slates * slates) AS slates_slates
        FROM shoppers GROUP BY place
    ), spent AS (
        SELECT coalesce(place, 0) AS place, shopper, currency, sum(value) AS money
        FROM acts JOIN outcomes USING (recommendation_id)
        WHERE type = 'purchase' AND (value = 0 OR abs(value) BETWEEN :least_money AND :most_money)
        GROUP BY GROUPING SETS ((place, shopper, currency), (shopper, currency))
    ), revenue AS (
        SELECT place, currency, sum(money) AS money, sum(money * money) AS money_money, sum(money * slates) AS money_slates,
               row_number() OVER (PARTITION BY place ORDER BY count(*) DESC, currency) AS number
        FROM spent JOIN shoppers USING (place, shopper) GROUP BY place, currency
    ), revenues AS (
        SELECT place, array_agg(currency) AS currencies, array_agg(money) AS money, array_agg(money_money) AS money_money,
               array_agg(money_slates) AS money_slates
        FROM revenue WHERE number <= :max_currencies + 1 GROUP BY place
    ), for_sale AS MATERIALIZED (
        SELECT item_id FROM items
        WHERE described AND available AND (published_at IS NULL OR published_at <= :until)
        AND (expires_at IS NULL OR expires_at > :until)
    ), covered AS (
        SELECT coalesce(place, 0) AS place, count(DISTINCT item_id) AS covered
        FROM (SELECT place, unnest(shown) AS item_id FROM outcomes GROUP BY 1, 2) AS shown JOIN for_sale USING (item_id)
        GROUP BY GROUPING SETS ((place), ())
    )
    SELECT places.key, counts.*, (SELECT count(*) FROM for_sale) AS for_sale, covered,
           currencies, money, money_money, money_slates
    FROM (SELECT) AS always LEFT JOIN counts ON true LEFT JOIN places USING (place)
    LEFT JOIN covered USING (place) LEFT JOIN revenues USING (place)
    WHERE place IS NULL OR place <= :max_groups + 1 ORDER BY place
""").bindparams(
    *(bindparam(name, type_=DateTime(timezone=True)) for name in ("since", "until")),
    *(bindparam(f"by_{name}", type_=Boolean()) for name in ("scenario", "variant", "model_version")),
    *(bindparam(name, type_=Integer()) for name in ("max_currencies", "max_groups")),
    *(bindparam(name, type_=Double()) for name in ("least_money", "most_money")),
)


class PostgresReport:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def sums(self, since: datetime, until: datetime, by: Collection[Dimension]) -> ReportSums:
        values = {
            "since": since, "until": until, "max_groups": MAX_GROUPS, "max_currencies": MAX_CURRENCIES,
            "least_money": LEAST_MONEY, "most_money": MOST_MONEY,
            "by_scenario": "scenario" in by, "by_variant": "variant" in by, "by_model_version": "model_version" in by,
        }  # fmt: skip
        async with begin(self._engine) as connection:
            await connection.execute(TUNING)
            try:
                total, *rows = (await connection.execute(SUMS, values)).all()
            except DBAPIError as error:
                if sqlstate(error) == CANCELLED:
                    raise too_long() from error
                raise
        groups = [group_of(row) for row in rows[:MAX_GROUPS]] if by else []
        is_cut = len(rows) > MAX_GROUPS or any(len(row.currencies or ()) > MAX_CURRENCIES for row in (total, *rows))
        return ReportSums(sorted(groups, key=name_of), group_of(total), is_cut)


def too_long() -> Unavailable:
    return Unavailable("the database took too long for this report; ask for a shorter window", code="store_unavailable")


def name_of(group: GroupSums) -> tuple[str, ...]:
    return tuple(name or "" for name in (group.scenario, group.variant, group.model_version))


def group_of(row: Row[Any]) -> GroupSums:
    scenario, variant, model_version = row.key or (None, None, None)
    slates = row.slates or 0.0
    revenue = {
        currency: RatioSums(money, slates, money_money, money_slates, row.slates_slates)
        for currency, money, money_money, money_slates in zip(*money_of(row), strict=True)
    }
    return GroupSums(
        scenario=scenario,
        variant=variant,
        model_version=model_version,
        slates=round(slates),
        shoppers=row.shoppers or 0,
        clickers=row.clickers or 0,
        clicks=ratio(row.clicks, row.shown, row.clicks_clicks, row.shown_clicks, row.shown_shown),
        purchases=ratio(row.purchases, row.clicks, row.purchases_purchases, row.clicks_purchases, row.clicks_clicks),
        revenue=dict(sorted(revenue.items(), key=lambda entry: entry[0] or "")),
        coverage=(row.covered or 0) / row.for_sale if row.for_sale else None,
    )


def ratio(*sums: float | None) -> RatioSums:
    """Null: of nothing."""
    return RatioSums(*(total or 0.0 for total in sums))


def money_of(row: Row[Any]) -> list[list[Any]]:
    """By currency: its name, and three sums."""
    return [
        (column or [])[:MAX_CURRENCIES] for column in (row.currencies, row.money, row.money_money, row.money_slates)
    ]
