"""Trends replayed for training: what the live counts would have said before each case."""

import numpy as np
import pytest

from app.learning.trends import TrendLog
from app.retrieval.sources.moment import PLACEMENT_SHRINKAGE
from tests.unit.learning.builders import START, log

T0 = START.timestamp()


def replay(hours: float, scenario: str = "") -> dict[str, float]:
    rows = [("u", "a", 0.0), ("v", "b", 5.5), ("u", "b", 5.9), ("w", "c", 6.5), ("w", "a", 40.0)]
    data = log(rows, scenarios=["home", "home", "cart", "cart", "home"])
    moment = TrendLog(data, np.arange(len(data.item_ids))).at(T0 + hours * 3600, data.scenarios.index(scenario))
    return {
        data.item_ids[row]: float(s) for row, s in zip(moment.trending_rows_K, moment.trending_scores_K, strict=True)
    }


def test_buckets_halve_every_six_hours_and_nothing_of_the_future_is_known() -> None:
    assert replay(0.0) == {}  # the case's own event is not before it
    at_six = {"a": 0.5, "b": 2 * 0.5 ** (1 / 6)}
    total = sum(at_six.values())
    assert replay(6.0) == pytest.approx({name: weight / total for name, weight in at_six.items()})
    assert list(replay(6.0)) == ["b", "a"]
    assert "c" in replay(6.6)


def test_after_a_day_it_is_over() -> None:
    assert set(replay(24.5)) == {"a", "b", "c"}
    assert set(replay(25.5)) == {"b", "c"}
    assert replay(39.0) == {}


def test_a_placement_has_its_own_trend_shrunk_to_the_shop() -> None:
    shop = replay(6.0)
    own = {"b": 0.5 ** (1 / 6)}
    total = sum(own.values()) + PLACEMENT_SHRINKAGE
    expected = {name: (own.get(name, 0.0) + PLACEMENT_SHRINKAGE * share) / total for name, share in shop.items()}
    assert replay(6.0, "cart") == pytest.approx(expected)
