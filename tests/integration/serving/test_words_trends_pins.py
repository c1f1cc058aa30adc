"""What a request knows beyond its shopper: a query in words, what sells now, pins."""

from __future__ import annotations

import asyncio
import gc
import weakref
from dataclasses import replace
from datetime import timedelta

import pytest

from app.catalogue.item import Item
from app.feedback.state import HistoryEntry, UserState
from app.retrieval.columns import Columns
from app.scenarios.scenario import Exclusions, Pin, Scenario
from app.serving.catalogue_view import CatalogueView
from app.serving.slate import Slate, SlateRequest
from app.serving.trends import Trend, TrendCache
from tests.integration.serving.conftest import NOW, Process, Shop, Shoppers


async def ask(process: Process, query: str | None = None, **request: object) -> Slate:
    given = {
        "scenario": "home",
        "n": 10,
        "fields": ("title", "price", "category", "brand"),
        "diagnostics": True,
    } | request
    return await process.recommender.recommend(SlateRequest(query=query, **given))  # type: ignore[arg-type]


def ids(slate: Slate) -> list[str]:
    return [item.item_id for item in slate.items]


async def test_words_find_what_they_say(serving: Process) -> None:
    slate = await ask(serving, "a sharp knife for the kitchen")
    assert ids(slate)[0].startswith("cook-knife")
    assert sum("knife" in item for item in ids(slate)[:6]) >= 3
    assert "query" in slate.items[0].sources
    assert slate.diagnostics
    weights = slate.diagnostics.weights
    assert weights["query"] == pytest.approx(2 * (sum(weights.values()) - weights["query"]))
    assert slate.interpreted_query
    assert slate.interpreted_query.filter == {"and": [{"field": "category", "contains": "Kitchen"}]}


async def test_a_query_outweighs_a_history_and_history_orders_what_it_leaves_open(serving: Process) -> None:
    past = tuple(
        HistoryEntry(f"fish-rod-{n}", "click", (NOW - timedelta(hours=n + 1)).timestamp(), f"e{n}") for n in range(3)
    )
    serving.shoppers.states["anna"] = UserState(history=past)
    slate = await ask(serving, "whisk for baking", user_id="anna")
    assert all(item.startswith("cook-whisk") for item in ids(slate)[:3])
    assert {"two_tower", "item_cf"} & set(slate.diagnostics.candidates if slate.diagnostics else ())


async def test_what_the_words_demand_is_never_relaxed(serving: Process) -> None:
    slate = await ask(serving, "kitchen bowl under 12", n=50)
    assert slate.items
    for item in slate.items:
        assert item.fields["price"] < 12  # type: ignore[operator]
        assert item.fields["category"] == ["Kitchen"]
    assert len(slate.items) == 8  # eight kinds of kitchen ware at 10.0, and nothing else to fill up with
    assert slate.diagnostics
    assert slate.diagnostics.dropped["query"] == 56


async def test_what_is_not_wanted_stays_out_or_goes_down(serving: Process) -> None:
    named = await ask(serving, "a present, not fishing", n=64)
    assert named.interpreted_query
    assert named.interpreted_query.not_like == ("fishing",)
    assert all(item.startswith("cook") for item in ids(named))
    wanted, unwanted = await ask(serving, "something for cooks"), await ask(serving, "something for cooks, no knives")
    first_knife = [next((p for p, item in enumerate(ids(s)) if "knife" in item), 10) for s in (wanted, unwanted)]
    assert first_knife[1] == 10
    assert len(ids(unwanted)) == 10


async def test_brands_are_read_from_the_catalogue_new_ones_too(serving: Process, open_shop: Shop) -> None:
    item = Item("new-1", "Titanium spork", brand="Sporkly", category=("Camping",), price=9.0, created_at=NOW)
    await open_shop.catalogue.upsert_items([item])
    serving.shoppers.catalogue_revision = (await open_shop.catalogue.items_changed_since(0)).revision
    slate = await ask(serving, "anything by sporkly")
    assert slate.interpreted_query
    assert slate.interpreted_query.filter == {"and": [{"field": "brand", "eq": "Sporkly"}]}
    assert ids(slate) == ["new-1"]


async def test_only_a_demand_and_no_words_is_answered_too(serving: Process) -> None:
    slate = await ask(serving, "under 12", n=50)
    assert slate.interpreted_query
    assert slate.interpreted_query.text == ""
    assert len(slate.items) == 16
    assert slate.diagnostics
    assert "query" not in slate.diagnostics.weights
    assert (await ask(serving, "   ")).interpreted_query is None


async def test_a_query_is_answered_without_a_model(empty_shop: Shop) -> None:
    await empty_shop.catalogue.upsert_items([Item("a", "Lamp", price=20.0), Item("b", "Lamp", price=80.0)])
    async with empty_shop.process() as process:
        slate = await ask(process, "lamp under 50")
    assert ids(slate) == ["a"]


async def test_what_sells_now_is_a_source_under_the_filter(serving: Process) -> None:
    serving.shoppers.trends = ["cook-pan-3", "fish-net-2", "cook-pot-1"]
    await serving.scenarios.put(Scenario("now", "What sells now.", {"trending": 1.0}, n=3))
    slate = await ask(serving, scenario="now", filter={"field": "category", "contains": "Kitchen"})
    assert ids(slate)[:2] == ["cook-pan-3", "cook-pot-1"]
    assert slate.items[0].sources == ("trending",)
    assert slate.diagnostics
    assert slate.diagnostics.candidates["trending"] == 2


async def test_pins_that_hold_are_candidates(serving: Process) -> None:
    pins = (
        Pin(2, "fish-net-2"), Pin(1, "cook-pan-3", until_at=NOW - timedelta(days=1)),
        Pin(3, "cook-pot-1", from_at=NOW - timedelta(days=1)), Pin(4, "nothing-of-ours"),
    )  # fmt: skip
    scenario = Scenario("edited", "Chosen by hand.", {"two_tower": 1.0, "editorial": "learned"}, pins=pins, n=6)
    await serving.scenarios.put(scenario)
    slate = await ask(serving, scenario="edited")
    assert (ids(slate)[1], ids(slate)[2]) == ("fish-net-2", "cook-pot-1")
    assert slate.items[1].sources[0] == "editorial"
    assert slate.items[1].sources.count("editorial") == 1
    assert slate.diagnostics
    assert slate.diagnostics.candidates["editorial"] == 2
    await serving.scenarios.put(replace(scenario, pins=()))
    without = await ask(serving, scenario="edited")
    assert without.diagnostics
    assert "editorial" not in without.diagnostics.weights


async def test_complements_follow_the_cart(serving: Process) -> None:
    await serving.scenarios.put(
        Scenario("basket", "The cart.", {"complements": 1.0}, exclude=Exclusions(), fallback=("new",), n=5)
    )
    slate = await ask(serving, scenario="basket", context_items=("fish-rod-0", "fish-reel-1"))
    assert slate.diagnostics
    by_source = [item.item_id for item in slate.items if item.sources == ("complements",)]
    assert all(item.startswith("fish") for item in by_source)
    assert not {"fish-rod-0", "fish-reel-1"} & set(ids(slate))


class Redis(Shoppers):
    """Counts the questions; `away` as an absent Redis: nothing is known."""

    asked = 0
    away = False

    async def trending(self, scenario: str | None, limit: int) -> list[tuple[str, float]]:
        self.asked += 1
        await asyncio.sleep(0)
        return [] if self.away else await super().trending(scenario, limit)


async def test_trends_are_asked_for_once_and_hold_while_redis_is_away() -> None:
    redis = Redis(trends=["a", "b"])
    cache = TrendCache(redis)  # type: ignore[arg-type]
    found = await asyncio.gather(*(cache.of("home") for _ in range(20)))
    assert redis.asked == 2  # of the placement and of the shop
    assert {trend.own[0][0] for trend in found} == {"a"}
    cache.fresh_seconds, redis.away = 0.0, True
    assert (await cache.of("home")).item_ids == ["a", "b"]
    assert redis.asked == 4
    empty = TrendCache(redis)  # type: ignore[arg-type]
    assert (await empty.of("home")).item_ids == []


def test_a_trend_does_not_keep_a_catalogue_alive() -> None:
    view = CatalogueView(0, Columns.from_items([Item("b"), Item("a")]), ("b", "a"), {"b": 0, "a": 1})
    trend, items = Trend([("a", 2.0), ("b", 1.0)]), weakref.ref(view.trained.plain)
    assert trend.rows(view)[0].tolist() == [1, 0]
    assert trend.rows(view)[0] is trend.rows(view)[0]
    del view
    gc.collect()
    assert items() is None


async def test_a_slow_redis_does_not_hold_up_a_request() -> None:
    class Stuck(Shoppers):
        async def trending(self, scenario: str | None, limit: int) -> list[tuple[str, float]]:
            await asyncio.Event().wait()
            return []

    assert (await TrendCache(Stuck()).of("home")).item_ids == []  # type: ignore[arg-type]
