"""What a report costs the database.

Run: python -m pytest tests/bench/bench_report.py -s   (not collected otherwise; REPORT_SLATES=1000000 for more)

Cost model: a scan of the window's slates, a hash join with the events since then, an aggregate over slates and one over their items.
"""

from __future__ import annotations

import os
import time
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.experiments.report import Dimension, Reporter
from app.stores.postgres.engine import begin
from app.stores.postgres.report import PostgresReport

pytestmark = pytest.mark.bench
SLATES = int(os.environ.get("REPORT_SLATES", "100000"))
# 10 of 10,000 items in a slate, five slates to a shopper, an event to each slate (one in ten a purchase), ten rows by all three names
FILL = (
    "INSERT INTO items (item_id, described, revision) SELECT 'i' || n, true, 1 FROM generate_series(0, 9999) AS n",
    """INSERT INTO impressions (recommendation_id, scenario, model_version, variant, user_id, shown_at, item_ids, scores, propensities)
    SELECT 'r' || n, 'scenario-' || n % 5, 'model-version-' || n / (1 + :slates / 2), NULL, 'user-' || n % (:slates / 5),
           now() - interval '6 days' * n / :slates,
           (SELECT array_agg('i' || (n::bigint * 37 + k * k * 131 + k) % 10000) FROM generate_series(0, 9) AS k),
           array_fill(1::real, ARRAY[10]), array_fill(1::real, ARRAY[10])
    FROM generate_series(0, :slates - 1) AS n""",
    """INSERT INTO events (event_id, type, item_id, user_id, recommendation_id, value, currency, occurred_at)
    SELECT 'e' || n, CASE WHEN n % 10 = 0 THEN 'purchase' ELSE 'click' END, 'i' || (n::bigint * 37) % 10000,
           'user-' || n % (:slates / 5), 'r' || n, 9.9, 'EUR', now() - interval '6 days' * n / :slates
    FROM generate_series(0, :slates - 1) AS n""",
)


async def test_a_report_of_a_week(engine: AsyncEngine) -> None:
    async with begin(engine) as connection:
        for statement in FILL:
            await connection.execute(text(statement.replace(":slates", str(SLATES))))
    async with begin(engine) as connection:
        await connection.execute(text("ANALYZE"))
    reporter = Reporter(PostgresReport(engine))
    shapes: tuple[tuple[Dimension, ...], ...] = ((), ("scenario",), ("scenario", "variant", "model_version"))
    for by in shapes:
        taken = []
        for _ in range(3):
            start = time.perf_counter()
            report = await reporter.report(timedelta(days=7), by)
            taken.append(time.perf_counter() - start)
        assert (report.total.slates, report.total.clicks, report.total.purchases) == (SLATES, SLATES, SLATES / 10)
        print(
            f"\nby {','.join(by) or 'nothing'}: {len(report.rows)} rows of {SLATES:,} slates and as many events in "
            f"{sorted(taken)[1]:.2f} s ({min(taken):.2f} to {max(taken):.2f}, {os.cpu_count()} cores)"
        )
