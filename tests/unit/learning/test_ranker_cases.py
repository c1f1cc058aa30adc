"""What followed a slate or a request, as the ranker learns it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from app.catalogue.shop_data import EVENT_SCHEMA
from app.learning.dataset import EventLog, Interactions
from app.learning.evaluation.rank import WHOLE_SHOP, asks_of
from app.learning.ranker_cases import outcomes_of, slates_after
from app.learning.splits import temporal, temporal_at

START = datetime(2026, 3, 1, tzinfo=UTC)


def read(rows: list[dict[str, object]], items: str) -> Interactions:
    log = EventLog(pl.Series(list(items)))
    log.add(pl.DataFrame([{"event_id": str(n), **row} for n, row in enumerate(rows)], schema=EVENT_SCHEMA))
    return log.interactions()


def event(user: str, item: str, hours: float, kind: str = "click", **more: object) -> dict[str, object]:
    return {"type": kind, "user_id": user, "item_id": item, "occurred_at": START + timedelta(hours=hours), **more}


def test_slates_later_than_a_cut_are_not_taken_for_slates_that_nobody_wanted() -> None:
    """A slate an hour, each clicked six minutes later; the past of a split ends before the last of them."""
    rows = []
    for hour in range(1000):
        user = f"u{hour % 20}"
        of_slate = {"scenario": "home", "recommendation_id": f"s{hour}"}
        rows += [event(user, item, hour, "impression", position=n, **of_slate) for n, item in enumerate("abc", 1)]
        rows.append(event(user, "a", hour + 0.1))
    past = temporal(read(rows, "abc")).train
    slates = slates_after(past, float(np.quantile(past.at_E, 0.5)), np.bincount(past.item_E, minlength=3), 0)
    assert len(slates) > 300
    assert all(slate.labels_IH[:, 0].any() for slate in slates)


def test_what_followed_is_the_shoppers_own_although_a_split_numbers_events_anew() -> None:
    """Ann's many later events come before bob's in the log."""
    later = [event("ann", item, 101 + n) for n, item in enumerate("dabd")]
    rows = [event("ann", "a", 0), event("ann", "b", 1), *later, event("ann", "e", 105, "purchase")]
    rows += [event("bob", "d", 0), event("bob", "b", 1), event("bob", "e", 101), event("cat", "e", 0)]
    data = read(rows, "abcde")
    inner = temporal_at(data, START.timestamp() + 50 * 3600)
    found = {
        data.user_ids[outcome.ask.user]: (outcome.items.tolist(), outcome.labels_IH.tolist())
        for outcome in outcomes_of(data, (asks_of(inner, WHOLE_SHOP), list(inner.targets)))
    }
    e = data.item_ids.index("e")
    assert found["bob"] == ([e], [[True, False, False]])
    items, labels = found["ann"]
    assert labels[items.index(e)] == [True, True, True]
