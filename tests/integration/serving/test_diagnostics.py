"""Diagnostics of a real slate add up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import orjson

from app.api.schemas.recommendations import DiagnosticsView
from app.catalogue.item import Item
from app.feedback.state import UserState
from app.scenarios.defaults import READY_MADE
from app.scenarios.scenario import Pin
from app.serving.diagnostics import scenario_hash
from app.serving.slate import Diagnostics, SlateRequest
from tests.integration.serving.conftest import Process
from tests.integration.serving.test_recommender import at, did, ids


async def told_of(serving: Process, **asked: object) -> tuple[Diagnostics, list[str]]:
    serving.shoppers.states["anna"] = UserState(did("cook-pan-1", "cook-pot-2"), purchased={"cook-pan-1": at(days=1)})
    request = SlateRequest("home", user_id="anna", n=10, diagnostics=True, **asked)  # type: ignore[arg-type]
    slate = await serving.recommender.recommend(request)
    assert slate.diagnostics
    return slate.diagnostics, ids(slate)


async def test_what_is_kept_and_what_is_dropped_is_the_catalogue(serving: Process) -> None:
    told, shown = await told_of(serving, filter={"field": "price", "lt": 20}, exclude_items=frozenset({"fish-rod-0"}))
    assert told.num_items == 64
    assert told.dropped["filter"] == 32
    assert told.num_items == told.num_allowed + sum(told.dropped.values())
    assert told.num_allowed == told.num_items - len({"cook-pan-1", "fish-rod-0"}) - 32
    assert {report.rule: report.dropped for report in told.rules if report.rule in told.dropped} == told.dropped
    by_rule = {report.rule: report.examples for report in told.rules}
    assert by_rule["purchased"] == ("cook-pan-1",)
    assert 0 < len(by_rule["filter"]) <= 5
    assert not set(by_rule["filter"]) & set(shown)


async def test_the_sources_of_the_slate_and_of_its_candidates_add_up(serving: Process) -> None:
    told, shown = await told_of(serving)
    assert [trace.item_id for trace in told.items] == shown
    assert told.num_ranked == told.num_allowed  # the small catalogue is a candidate as a whole
    for trace in told.items:
        assert trace.fused is not None
        np.testing.assert_allclose(sum(said.part for said in trace.sources), trace.fused, atol=1e-5)
        assert all(1 <= said.rank <= told.candidates[said.source] for said in trace.sources)
    for source, num in told.in_slate.items():
        assert num == sum(source in {said.source for said in trace.sources} for trace in told.items)
    for pair in told.overlaps:
        assert 0 < pair.num <= min(told.candidates[pair.first], told.candidates[pair.second])
    assert len(told.overlaps) <= len(told.candidates) * (len(told.candidates) - 1) // 2
    assert set(told.candidates) == {name for name, weight in told.weights.items() if weight > 0}


async def test_what_it_was_made_from_is_named(serving: Process) -> None:
    told, _ = await told_of(serving)
    home = READY_MADE["home"]
    assert (told.versions.model, told.versions.scenario) == ("v1", scenario_hash(home))
    assert told.versions.catalogue_revision == serving.live.current.catalogue.revision
    assert told.ranking
    assert scenario_hash(home) != scenario_hash(replace(home, n=home.n + 1))
    assert {"state", "rules", "candidates", "ranking", "composition", "total"} <= told.timings_ms.keys()


async def test_an_item_that_a_rule_put_there_is_traced_to_it(serving: Process) -> None:
    await serving.scenarios.put(replace(READY_MADE["home"], pins=(Pin(2, "fish-net-3"),)))
    told, shown = await told_of(serving)
    assert shown[1] == "fish-net-3"
    assert "pin" in told.items[1].rules
    assert next(report for report in told.rules if report.rule == "pin").examples == ("fish-net-3",)


async def test_as_json_they_are_what_the_contract_says(serving: Process) -> None:
    told, _ = await told_of(serving)
    DiagnosticsView.model_validate_json(orjson.dumps(told), strict=True)


async def test_without_a_model_the_fallbacks_are_told(empty_shop) -> None:
    await empty_shop.catalogue.upsert_items([Item("i1", title="One"), Item("i2", title="Two", available=False)])
    async with empty_shop.process() as process:
        told = (await process.recommender.recommend(SlateRequest("home", diagnostics=True))).diagnostics
        assert (told.num_items, told.num_allowed, told.dropped["unavailable"]) == (2, 1, 1)
        assert (told.fallbacks, told.degraded, told.ranking, told.in_slate) == (("new",), ("model",), None, {"new": 1})
