"""A process follows the database: catalogue, scenarios, models; under load, and while the database is away."""

from __future__ import annotations

import asyncio
import gc
import os
import time
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from sqlalchemy.engine import make_url

from app.catalogue.item import Item, ItemChanges
from app.catalogue.ports import CatalogueStore
from app.errors import Unavailable
from app.retrieval.snapshot import Snapshot
from app.scenarios.scenario import Scenario
from app.serving.slate import SlateRequest
from tests.conftest import run_sql
from tests.integration.serving.conftest import Process, Shop

FRESH = Item(
    "fresh", "sturdy fishing rod with a carbon tip", "A rod for anglers on river and sea.", ("Fishing",),
    brand="fish-brand-1", price=15.0, tags=("rod",),
)  # fmt: skip


async def is_so(value: bool) -> bool:
    return value


async def until(is_true: Callable[[], Awaitable[bool]], seconds: float = 10.0) -> float:
    """Seconds it took; fails after `seconds`."""
    begin = time.monotonic()
    while not await is_true():
        assert time.monotonic() - begin < seconds, "did not happen in time"
        await asyncio.sleep(0.02)
    return time.monotonic() - begin


async def slate_ids(process: Process, scenario: str = "home", **request: object) -> list[str]:
    slate = await process.recommender.recommend(SlateRequest(scenario, n=200, **request))  # type: ignore[arg-type]
    return [item.item_id for item in slate.items]


def sources_of(process: Process, item_id: str) -> Callable[[], Awaitable[set[str]]]:
    async def look() -> set[str]:
        slate = await process.recommender.recommend(SlateRequest("by_taste", context_items=("fish-rod-1",), n=32))
        return {source for item in slate.items if item.item_id == item_id for source in item.sources}

    return look


async def test_a_posted_item_is_found_by_its_text_within_five_seconds(open_shop: Shop, serving: Process) -> None:
    await open_shop.catalogue.upsert_items([FRESH])
    look = sources_of(serving, "fresh")

    async def is_found() -> bool:
        return "two_tower" in await look()

    assert await until(is_found) < 5
    slate = await serving.recommender.recommend(SlateRequest("by_taste", context_items=("fish-rod-1",), n=32))
    assert [item.cold for item in slate.items if item.item_id == "fresh"] == [True]
    assert not any(item.cold for item in slate.items if item.item_id != "fresh")


async def test_a_new_item_can_be_viewed_before_any_training(open_shop: Shop, serving: Process) -> None:
    await open_shop.catalogue.upsert_items([FRESH])

    async def is_embedded() -> bool:
        return serving.live.current.history_row("fresh") is not None

    await until(is_embedded)
    slate = await serving.recommender.recommend(SlateRequest("similar", context_items=("fresh",), n=10))
    assert sum(item.item_id.startswith("fish") for item in slate.items) >= 8


async def test_a_write_announced_to_this_process_holds_for_the_very_next_request(open_shop: Shop) -> None:
    async with open_shop.process(interval_seconds=3600) as process:
        assert "fish-rod-0" in await slate_ids(process)
        off = await open_shop.catalogue.update_item("fish-rod-0", lambda item: replace(item, available=False))
        assert off
        await process.shoppers.announce_catalogue(off[1])
        assert "fish-rod-0" not in await slate_ids(process)
        dear = await open_shop.catalogue.update_item("fish-reel-0", lambda item: replace(item, price=900.0))
        assert dear
        await process.shoppers.announce_catalogue(dear[1])
        assert "fish-reel-0" not in await slate_ids(process, filter={"field": "price", "lt": 100})
        gone = await open_shop.catalogue.delete_item("fish-lure-0")
        assert gone
        await process.shoppers.announce_catalogue(gone)
        assert "fish-lure-0" not in await slate_ids(process)
        new = await open_shop.catalogue.upsert_items([FRESH])
        await process.shoppers.announce_catalogue(new)
        assert "fresh" in await slate_ids(process)


async def test_a_rewritten_item_moves_to_where_its_words_say(open_shop: Shop, serving: Process) -> None:
    assert "two_tower" not in await sources_of(serving, "cook-pan-3")()
    words = replace(FRESH, item_id="cook-pan-3", title="classic fishing rod")
    await open_shop.catalogue.upsert_items([words])

    async def is_replaced() -> bool:
        view = serving.live.current.catalogue
        return bool(view.replaced) and not serving.live.state.pending

    await until(is_replaced)
    ids = await slate_ids(serving)
    assert ids.count("cook-pan-3") == 1
    assert len(ids) == 64


async def test_a_bulk_of_changes_never_holds_up_the_event_loop(open_shop: Shop, serving: Process) -> None:
    items = [replace(FRESH, item_id=f"bulk-{n}", title=f"fishing rod number {n}") for n in range(3_000)]
    lags: list[float] = []

    async def beat() -> None:
        while True:
            begin = time.monotonic()
            await asyncio.sleep(0.01)
            lags.append(time.monotonic() - begin - 0.01)

    heart = asyncio.create_task(beat())
    for start in range(0, len(items), 1_000):
        await open_shop.catalogue.upsert_items(items[start : start + 1_000])

    async def are_known() -> bool:
        return len(serving.live.current.catalogue) == 64 + 3_000

    await until(are_known)
    assert "bulk-7" in await slate_ids(serving, filter={"field": "item_id", "eq": "bulk-7"})
    heart.cancel()
    assert np.percentile(lags, 95) < 0.1
    assert max(lags) < 2.0


async def test_a_new_version_takes_over_under_load_and_keeps_what_is_new(
    open_shop: Shop, serving: Process, trained: Snapshot
) -> None:
    await open_shop.catalogue.upsert_items([FRESH])
    look = sources_of(serving, "fresh")

    async def is_found() -> bool:
        return "two_tower" in await look()

    await until(is_found)
    versions: list[str | None] = []
    is_done = False

    async def shop_on() -> None:
        while not is_done:
            slate = await serving.recommender.recommend(SlateRequest("by_taste", context_items=("fish-rod-1",), n=64))
            assert len(slate.items) == 64
            assert "two_tower" in {s for item in slate.items if item.item_id == "fresh" for s in item.sources}
            versions.append(slate.model_version)

    shoppers = [asyncio.create_task(shop_on()) for _ in range(4)]
    await open_shop.release(trained, "v2")

    async def is_swapped() -> bool:
        return serving.live.current.model_version == "v2"

    assert await until(is_swapped) < 5
    await until(lambda: is_so(versions[-1] == "v2"))
    await open_shop.versions.rollback()
    await until(lambda: is_so(versions[-1] == "v1"))
    is_done = True
    await asyncio.gather(*shoppers)
    changes = [version for before, version in pairwise(versions) if before != version]
    assert set(versions) == {"v1", "v2"}
    assert len(changes) <= 12  # four shoppers, two swaps: answers overlap, versions do not flutter


async def test_a_model_that_was_replaced_is_freed_without_the_collector(
    open_shop: Shop, serving: Process, trained: Snapshot
) -> None:
    """API processes keep it from looking at what was there at their start, see `api_process.calm_interpreter`."""
    model = serving.live.current.model
    assert model is not None
    await slate_ids(serving)
    snapshot, catalogue = weakref.ref(model.snapshot), weakref.ref(serving.live.current.catalogue.trained.plain)
    del model
    gc.disable()
    try:
        await open_shop.release(trained, "v2")
        await until(lambda: is_so(serving.live.current.model_version == "v2"))
        await slate_ids(serving)
        await until(lambda: is_so(snapshot() is None and catalogue() is None))
    finally:
        gc.enable()


async def test_what_the_old_version_reads_while_it_is_replaced_holds_for_the_new_one(
    open_shop: Shop, trained: Snapshot
) -> None:
    catalogue = ChangesMeanwhile(open_shop.catalogue)
    async with open_shop.process(interval_seconds=3600, catalogue=catalogue) as process:
        await open_shop.release(trained, "v2")

        async def sell_out() -> None:
            revision = await open_shop.catalogue.upsert_items([Item("fish-rod-0", "rod", available=False)])
            await process.follower.catch_up(revision)
            assert "fish-rod-0" not in await slate_ids(process)

        catalogue.meanwhile = sell_out
        await process.follower._follow_models()
        assert process.live.current.model_version == "v2"
        assert "fish-rod-0" not in await slate_ids(process)


class ChangesMeanwhile:
    """A catalogue where something happens once between a read of its changes and their answer."""

    def __init__(self, store: CatalogueStore) -> None:
        self._store = store
        self.meanwhile: Callable[[], Awaitable[None]] | None = None

    async def items_changed_since(self, revision: int) -> ItemChanges:
        changes = await self._store.items_changed_since(revision)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        return changes


async def test_a_broken_version_leaves_the_old_one_serving(
    open_shop: Shop, serving: Process, trained: Snapshot
) -> None:
    await open_shop.release(trained, "torn")
    (open_shop.artifacts.place("torn") / "vectors_ND.npy").write_bytes(b"torn")

    async def has_tried() -> bool:
        return "models" in serving.follower._not_before

    if serving.live.current.model_version != "torn":  # the process may have been quicker than the tear
        await until(has_tried)
        slate = await serving.recommender.recommend(SlateRequest("home"))
        assert slate.model_version == "v1"
        assert len(slate.items) == 20


async def test_an_artifact_store_that_hangs_holds_up_neither_a_start_nor_what_follows(
    open_shop: Shop, trained: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe in the place of a file: who reads it waits, as on a network disk whose server is gone."""
    monkeypatch.setattr("app.serving.follower.FIRST_MODEL_SECONDS", 0.2)
    monkeypatch.setattr("app.serving.follower.MODEL_SECONDS", 2.0)
    monkeypatch.setattr("app.serving.follower.RETRY_SECONDS", 0.1)
    await open_shop.release(trained, "slow")
    file = open_shop.artifacts.place("slow") / "vectors_ND.npy"
    aside = file.rename(file.with_suffix(".aside"))
    os.mkfifo(file)
    async with open_shop.process() as process:
        slate = await process.recommender.recommend(SlateRequest("home"))
        assert (slate.degraded, len(slate.items)) == (("model",), 20)
        await until(lambda: is_so("models" in process.follower._not_before))
        pipe = os.open(file, os.O_RDWR | os.O_NONBLOCK)
        aside.rename(file)
        os.close(pipe)  # whoever still reads has come to its end
        await until(lambda: is_so(process.live.current.model_version == "slow"))


async def test_a_model_of_another_encoder_is_not_served(open_shop: Shop, trained: Snapshot) -> None:
    other = replace(trained, manifest=replace(trained.manifest, encoder_name="other"))
    await open_shop.release(other, "foreign")
    async with open_shop.process() as process:
        slate = await process.recommender.recommend(SlateRequest("home"))
        assert slate.degraded == ("model",)
        assert len(slate.items) == 20


async def test_scenarios_of_another_process_arrive_within_two_seconds(open_shop: Shop, serving: Process) -> None:
    await open_shop.scenarios.put(Scenario("deal", "Offers for bargain hunters.", n=3))

    async def has_arrived() -> bool:
        return any(scenario.name == "deal" for scenario in serving.scenarios.all())

    assert await until(has_arrived) < 2
    assert len((await serving.recommender.recommend(SlateRequest("deal"))).items) == 3


async def test_serving_goes_on_while_the_database_is_away(open_shop: Shop, serving: Process, database_url: str) -> None:
    name, admin = make_url(database_url).database, make_url(database_url).set(database="postgres")
    url = admin.render_as_string(hide_password=False)
    await asyncio.to_thread(run_sql, url, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    kick = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    await asyncio.to_thread(run_sql, url, kick)
    await asyncio.to_thread(run_sql, url, f'ALTER DATABASE "{name}" RENAME TO "{name}_away"')
    try:
        await serving.shoppers.announce_catalogue(99)
        for _ in range(20):
            slate = await serving.recommender.recommend(SlateRequest("home", n=10))
            assert len(slate.items) == 10
            assert slate.degraded == ("catalogue",)
    finally:
        await asyncio.to_thread(run_sql, url, f'ALTER DATABASE "{name}_away" RENAME TO "{name}"')
        await asyncio.to_thread(run_sql, url, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    revision = await open_shop.catalogue.upsert_items([FRESH])
    serving.shoppers.catalogue_revision = revision

    async def has_arrived() -> bool:
        return "fresh" in await slate_ids(serving)

    assert await until(has_arrived) < 5


async def test_an_announced_revision_that_never_was_costs_one_look(open_shop: Shop, serving: Process) -> None:
    await serving.shoppers.announce_catalogue(10_000)
    slate = await serving.recommender.recommend(SlateRequest("home", n=5))
    assert (len(slate.items), slate.degraded) == (5, ())
    await serving.shoppers.announce_catalogue(10_000)
    assert len((await serving.recommender.recommend(SlateRequest("home", n=5))).items) == 5


async def test_a_process_is_ready_once_it_has_read_the_catalogue(open_shop: Shop) -> None:
    async with open_shop.process(start=False) as process:
        assert not process.follower.is_ready
        for scenario in ("home", "of_this_shop"):  # neither an empty slate nor "no such scenario": it cannot know yet
            with pytest.raises(Unavailable, match="starting"):
                await process.recommender.recommend(SlateRequest(scenario))
        await process.follower.follow_once()
        assert process.follower.is_ready
        assert process.live.current.model_version == "v1"


async def test_a_process_is_not_ready_before_it_has_the_live_model(open_shop: Shop) -> None:
    """The database went away after the revisions were read, or while the model was brought up to date: the catalogue alone would give
    slates of no version."""
    for part, store, call in (
        ("versions", open_shop.versions, "live"), ("catalogue", open_shop.catalogue, "items_changed_since"),
    ):  # fmt: skip
        failing = FailsOnce(store, call)
        async with open_shop.process(start=False, **{part: failing}) as process:
            await process.follower.follow_once()
            assert failing.has_failed
            assert not process.follower.is_ready
            await process.follower.follow_once()
            assert process.follower.is_ready
            assert (await process.recommender.recommend(SlateRequest("home"))).model_version == "v1"


class FailsOnce:
    """A store as reached over a connection that breaks at the first call of one method."""

    def __init__(self, store: object, call: str) -> None:
        self._store = store
        self._call = call
        self.has_failed = False

    def __getattr__(self, name: str) -> Any:
        if name == self._call and not self.has_failed:
            return self._break
        return getattr(self._store, name)

    async def _break(self, *_: object) -> None:
        self.has_failed = True
        raise Unavailable("the database cannot be reached; try again")
