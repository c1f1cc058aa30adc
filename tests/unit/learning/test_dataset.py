"""What is kept of what shoppers searched for, and of where."""

import polars as pl
import pytest

from app.catalogue.shop_data import ShopData
from app.learning import dataset
from app.learning.dataset import MAX_SCENARIOS, EventLog, Interactions
from tests.unit.learning.builders import log, shop


def searched(contexts: list[str | None], items: list[str] | None = None) -> ShopData:
    """One event of one user an hour, with these contexts."""
    made = shop([("u", item, float(n)) for n, item in enumerate(items or [f"i{n}" for n in range(len(contexts))])])
    return ShopData(made.items, made.users, made.events.with_columns(context=pl.Series(contexts, dtype=pl.String)))


def read(data: ShopData, piece: int = 2) -> Interactions:
    log = EventLog(data.items["item_id"])
    for part in data.events.iter_slices(piece):
        log.add(part)
    return log.interactions()


def test_equal_queries_are_held_once_whatever_their_case() -> None:
    data = read(
        searched(['{"query": " Red Mug "}', None, '{"device": "phone"}', '{"query": "red mug"}', '{"query": "lamp"}'])
    )
    assert [data.queries[row] for row in data.query_E] == ["red mug", "", "", "red mug", "lamp"]
    assert data.queries == ["", "red mug", "lamp"]


def test_there_are_at_most_so_many_and_none_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "MAX_QUERIES", 3)
    data = read(searched([f'{{"query": "{n}{"x" * 500}"}}' for n in range(8)]))
    assert [len(query) for query in data.queries] == [0, 200, 200, 200]
    assert data.query_E.tolist() == [1, 2, 3, 0, 0, 0, 0, 0]


def test_a_run_of_events_keeps_its_query() -> None:
    """The shopper searched, looked, and bought: what was bought was searched for."""
    data = read(searched(['{"query": "mug"}', None, None], items=["a", "a", "b"])).collapsed
    assert [(data.item_ids[item], data.queries[query]) for item, query in zip(data.item_E, data.query_E, strict=True)] == [
        ("a", "mug"), ("b", ""),
    ]  # fmt: skip


def test_scenario_names_without_end_take_no_memory_without_end() -> None:
    """A shop that sends the address of a page as its scenario: the most frequent keep their names."""
    names = [f"page {n}" for n in range(1_000)] + ["home"] * 5 + ["cart"] * 3
    data = log([("a", "x", float(n)) for n in range(len(names))], scenarios=names)
    assert len(data.scenarios) <= MAX_SCENARIOS + 1
    assert data.scenarios[0] == ""
    called = [data.scenarios[row] for row in data.scenario_E]
    assert called[-8:] == ["home"] * 5 + ["cart"] * 3
    assert all(name in ("", given) for name, given in zip(called, names, strict=True))
