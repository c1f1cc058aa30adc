"""Slates that go on, whole pages, lists of the caller's own, and versions that are not live; all from a really trained model."""

from __future__ import annotations

import asyncio
import math
import random
from dataclasses import replace

import pytest
import redis

from app.catalogue.item import Item, User
from app.catalogue.shop_data import ShopData
from app.errors import Conflict, Gone, Invalid, NotFound
from app.feedback.state import HistoryEntry, UserState
from app.retrieval.snapshot import Snapshot
from app.scenarios.scenario import Pin, Promotion, Scenario
from app.serving.ordering import RankedItems
from app.serving.preview import Previews
from app.serving.slate import Slate, SlateRequest
from app.stores.postgres.impressions import PostgresImpressions
from app.stores.postgres.shop_data import PostgresShopData
from app.types import no_progress
from tests.integration.serving.conftest import BY_TASTE, NOW, Process, Shop, make_items

ALL = {item.item_id for item in make_items()}


def ids(slate: Slate) -> list[str]:
    return [item.item_id for item in slate.items]


async def pages_of(serving: Process, request: SlateRequest) -> list[Slate]:
    """Every slate of a list, to its end."""
    slates = [await serving.recommender.recommend(request, "key")]
    while (cursor := slates[-1].next_cursor) is not None:
        slates.append((await serving.recommender.recommend_next(cursor, "key"))[0])
        assert len(slates) < 100
    return slates


@pytest.mark.parametrize("seed", range(6))
async def test_a_list_goes_through_the_whole_catalogue_without_a_repeat(serving: Process, seed: int) -> None:
    draw = random.Random(seed)
    history = tuple(HistoryEntry(f"fish-rod-{n}", "click", NOW.timestamp() - 60 * n, f"e{n}") for n in range(seed % 3))
    bought = {item_id: NOW.timestamp() for item_id in draw.sample(sorted(ALL), seed)}
    serving.shoppers.states["u"] = UserState(history=history, purchased=bought)
    excluded = frozenset(draw.sample(sorted(ALL), 3 * seed))
    price = draw.choice((None, {"field": "price", "lt": 21}))
    request = SlateRequest(
        draw.choice(("home", "by_taste", "new_arrivals", "similar")), "u",
        n=draw.randint(3, 20), filter=price, exclude_items=excluded, fields=("price",),
    )  # fmt: skip
    slates = await pages_of(serving, request)
    shown = [item_id for slate in slates for item_id in ids(slate)]
    wanted = {item.item_id for item in make_items() if price is None or (item.price or 0) < 21}
    assert len(shown) == len(set(shown))
    assert set(shown) == wanted - excluded - bought.keys()
    assert all(len(slate.items) == request.n for slate in slates[:-1])
    assert [item.position for item in slates[1].items] == list(range(1, len(slates[1].items) + 1))
    assert len({slate.recommendation_id for slate in slates}) == len(slates) == len(serving.impressions)
    assert {shown.recommendation_id for shown in serving.impressions} == {slate.recommendation_id for slate in slates}
    assert all(item.fields["price"] for slate in slates for item in slate.items)
    assert all(math.isfinite(item.score) for slate in slates for item in slate.items)


async def test_pins_and_promotions_do_not_come_again(serving: Process) -> None:
    scenario = Scenario(
        "pinned", "Whatever is pinned.", {"two_tower": 1.0}, n=7, pins=(Pin(1, "cook-pan-0"), Pin(3, "fish-net-1")),
        page_promotions=(Promotion({"field": "tags", "contains": "whisk"}, 0.5),),
    )  # fmt: skip
    await serving.scenarios.put(scenario)
    shown = [item_id for slate in await pages_of(serving, SlateRequest("pinned")) for item_id in ids(slate)]
    assert sorted(shown) == sorted(ALL)
    page = await serving.recommender.recommend_page([SlateRequest("pinned"), SlateRequest("pinned")], "key")
    assert not set(ids(page[0])) & set(ids(page[1]))


async def test_a_repeated_cursor_returns_its_slate_again_and_is_recorded_once(serving: Process) -> None:
    first = await serving.recommender.recommend(SlateRequest("home", "u", n=5, fields=("title",), reasons=True), "key")
    assert first.next_cursor
    second, request = await serving.recommender.recommend_next(first.next_cursor, "key")
    serving.shoppers.states["u"] = UserState(purchased={item_id: NOW.timestamp() for item_id in ids(second)})
    again, _ = await serving.recommender.recommend_next(first.next_cursor, "key")
    assert replace(again, next_cursor=None) == replace(second, next_cursor=None)
    assert request.fields == ("title",)
    assert again.items[0].fields["title"]
    assert len(serving.impressions) == 2
    thirds = [
        (await serving.recommender.recommend_next(slate.next_cursor or "", "key"))[0] for slate in (second, again)
    ]
    assert ids(thirds[0]) == ids(thirds[1])


async def test_a_repeated_cursor_shows_nothing_that_went_away_since(serving: Process, open_shop: Shop) -> None:
    first = await serving.recommender.recommend(SlateRequest("home", "u", n=5), "key")
    second, _ = await serving.recommender.recommend_next(first.next_cursor or "", "key")
    gone, deleted = ids(second)[1], ids(second)[3]
    await open_shop.catalogue.upsert_items([Item(gone, "sold out", available=False)])
    await open_shop.catalogue.delete_item(deleted)
    serving.shoppers.catalogue_revision = (await open_shop.catalogue.items_changed_since(0)).revision
    again, _ = await serving.recommender.recommend_next(first.next_cursor or "", "key")
    assert again.items == (second.items[0], second.items[2], second.items[4])
    third, _ = await serving.recommender.recommend_next(again.next_cursor or "", "key")
    assert len(third.items) == 5
    assert not set(ids(third)) & {*ids(first), *ids(second)}


async def test_a_repeated_cursor_shows_nothing_that_the_filters_leave_out_by_now(
    serving: Process, open_shop: Shop
) -> None:
    await serving.scenarios.put(Scenario("kitchen", "", n=4, filter={"field": "category", "contains": "Kitchen"}))
    request = SlateRequest("kitchen", filter={"field": "brand", "eq": "cook-brand-0"}, query="under 12")
    first = await serving.recommender.recommend(request, "key")
    second, _ = await serving.recommender.recommend_next(first.next_cursor or "", "key")
    known = {item.item_id: item for item in make_items()}
    by_scenario, by_request, by_query, _ = (known[item_id] for item_id in ids(second))
    changed = [
        replace(by_scenario, category=("Garden",)),
        replace(by_request, brand="x"),
        replace(by_query, price=99.0),
    ]
    serving.shoppers.catalogue_revision = await open_shop.catalogue.upsert_items(changed)
    again, _ = await serving.recommender.recommend_next(first.next_cursor or "", "key")
    assert again.items == (second.items[3],)


async def test_two_at_once_with_one_cursor_get_one_slate(serving: Process) -> None:
    first = await serving.recommender.recommend(SlateRequest("home", n=5), "key")
    answers = await asyncio.gather(
        *(serving.recommender.recommend_next(first.next_cursor or "", "key") for _ in range(4))
    )
    assert len({tuple(ids(slate)) for slate, _ in answers}) == 1
    assert len({slate.recommendation_id for slate, _ in answers}) == 1


async def test_what_was_bought_meanwhile_is_left_out_of_what_follows(serving: Process) -> None:
    first = await serving.recommender.recommend(SlateRequest("home", "u", n=5), "key")
    would_follow = ids(await serving.recommender.recommend(SlateRequest("home", "u", n=10), "key"))[5:]
    serving.shoppers.states["u"] = UserState(purchased={would_follow[0]: NOW.timestamp()})
    then, _ = await serving.recommender.recommend_next(first.next_cursor or "", "key")
    assert would_follow[0] not in ids(then)


async def test_another_process_goes_on_even_when_redis_forgot(serving: Process, open_shop: Shop) -> None:
    request = SlateRequest("home", n=20)
    slates = [await serving.recommender.recommend(request, "key")]
    async with open_shop.process() as other:
        for process in (other, serving):
            slates.append((await process.recommender.recommend_next(slates[-1].next_cursor or "", "key"))[0])
        await PostgresImpressions(open_shop.engine).write([*serving.impressions, *other.impressions])
        with redis.Redis.from_url(open_shop.redis_url) as client:
            client.flushdb()
        slates.append((await other.recommender.recommend_next(slates[-1].next_cursor or "", "key"))[0])
    shown = [item_id for slate in slates for item_id in ids(slate)]
    assert sorted(shown) == sorted(ALL)


async def test_a_list_that_nobody_knows_is_gone(serving: Process, open_shop: Shop) -> None:
    first = await serving.recommender.recommend(SlateRequest("home", n=5), "key")
    second, _ = await serving.recommender.recommend_next(first.next_cursor or "", "key")
    with redis.Redis.from_url(open_shop.redis_url) as client:
        client.flushdb()
    with pytest.raises(Gone):
        await serving.recommender.recommend_next(second.next_cursor or "", "key")


async def test_a_cursor_belongs_to_its_key(serving: Process) -> None:
    first = await serving.recommender.recommend(SlateRequest("home", n=5), "key")
    with pytest.raises(Invalid):
        await serving.recommender.recommend_next(first.next_cursor or "", "another key")


async def test_no_item_is_in_two_slates_of_a_page_and_the_first_chooses_first(serving: Process) -> None:
    wishes = [
        SlateRequest("by_taste", "u", n=10),
        SlateRequest("by_taste", "u", n=10),
        SlateRequest("home", "u", n=5, filter={"field": "category", "contains": "Kitchen"}),
        SlateRequest("home", "u", n=60),
    ]
    page = await serving.recommender.recommend_page(wishes, "key")
    alone = await serving.recommender.recommend(wishes[0], "key")
    shown = [item_id for slate in page for item_id in ids(slate)]
    assert len(shown) == len(set(shown))
    assert ids(page[0]) == ids(alone)
    assert set(shown) == ALL
    assert {item_id.partition("-")[0] for item_id in ids(page[2])} == {"cook"}
    assert len({slate.recommendation_id for slate in page}) == 4
    assert [shown.item_ids for shown in serving.impressions[:4]] == [tuple(ids(slate)) for slate in page]
    assert page[3].next_cursor is None


async def test_what_follows_a_slate_of_a_page_repeats_nothing_of_the_page(serving: Process) -> None:
    page = await serving.recommender.recommend_page([SlateRequest("home", n=6), SlateRequest("similar", n=6)], "key")
    shown = {item_id for slate in page for item_id in ids(slate)}
    cursor = page[0].next_cursor
    while cursor is not None:
        slate, _ = await serving.recommender.recommend_next(cursor, "key")
        assert not shown & set(ids(slate))
        shown |= set(ids(slate))
        cursor = slate.next_cursor
    assert shown == ALL


async def test_what_follows_repeats_nothing_of_the_page_even_when_redis_forgot(
    serving: Process, open_shop: Shop
) -> None:
    page = await serving.recommender.recommend_page([SlateRequest("home", n=6), SlateRequest("similar", n=6)], "key")
    slates = [*page, (await serving.recommender.recommend_next(page[0].next_cursor or "", "key"))[0]]
    await PostgresImpressions(open_shop.engine).write(serving.impressions)
    for _ in range(2):
        with redis.Redis.from_url(open_shop.redis_url) as client:
            client.flushdb()
        slates.append((await serving.recommender.recommend_next(slates[-1].next_cursor or "", "key"))[0])
        await PostgresImpressions(open_shop.engine).write(serving.impressions[-1:])
    shown = [item_id for slate in slates for item_id in ids(slate)]
    assert len(shown) == len(set(shown)) == 30


async def test_a_kept_slate_of_another_release_is_made_anew(serving: Process, open_shop: Shop) -> None:
    first = await serving.recommender.recommend(SlateRequest("home", n=5), "key")
    with redis.Redis.from_url(open_shop.redis_url) as client:
        await serving.recommender.recommend_next(first.next_cursor or "", "key")
        client.hset(f"duoscene:l:{first.recommendation_id}", "s1", b'p{"slate":{"colour":"red"},"has_more":true}')
    slates = [first]
    for _ in range(2):
        slates.append((await serving.recommender.recommend_next(slates[-1].next_cursor or "", "key"))[0])
    shown = [item_id for slate in slates for item_id in ids(slate)]
    assert len(shown) == len(set(shown)) == 15


async def test_nothing_follows_a_slate_where_its_page_shows_all(serving: Process) -> None:
    kitchen = {"field": "category", "contains": "Kitchen"}
    requests = [SlateRequest("home", n=20, filter=kitchen), SlateRequest("home", n=12, filter=kitchen)]
    page = await serving.recommender.recommend_page([*requests, SlateRequest("home", n=5)], "key")
    assert [slate.next_cursor is None for slate in page] == [True, True, False]


async def test_a_page_says_which_slate_is_wrong(serving: Process) -> None:
    good = SlateRequest("home")
    for bad, loc in (
        (SlateRequest("home", filter={"field": "colour", "eq": "red"}), ("slates", 1, "filter", "field")),
        (SlateRequest("home", fields=("colour",)), ("slates", 1, "fields", 0)),
        (SlateRequest("home", filter={"field": "brand", "ne": {"context_item": "brand"}}), ("slates", 1)),
    ):
        with pytest.raises(Invalid) as caught:
            await serving.recommender.recommend_page([good, bad], "key")
        assert caught.value.loc[: len(loc)] == loc
        with pytest.raises(Invalid) as alone:
            await serving.recommender.recommend(bad, "key")
        assert caught.value.loc[2:] == alone.value.loc
    with pytest.raises(Invalid) as caught:
        await serving.recommender.recommend_page([SlateRequest("home", n=200)] * 6, "key")
    assert caught.value.code == "page_too_large"
    with pytest.raises(NotFound):
        await serving.recommender.recommend_page([good, SlateRequest("nowhere")], "key")


async def test_a_page_without_a_model_comes_from_what_sells(empty_shop: Shop) -> None:
    async with empty_shop.process() as process:
        await empty_shop.catalogue.upsert_items(make_items())
        await process.follower.follow_once()
        process.shoppers.trends = ["cook-pan-1", "fish-rod-2", "cook-pot-0"]
        page = await process.recommender.recommend_page([SlateRequest("home", n=2), SlateRequest("cart", n=2)], "key")
        assert ids(page[0]) == ["cook-pan-1", "fish-rod-2"]
        assert ids(page[1])[0] == "cook-pot-0"
        assert len(ids(page[1])) == 2


def placed(ranked: RankedItems) -> list[str]:
    return ids(ranked.slate)


async def test_a_list_is_ranked_whole_and_as_slates_rank_it(serving: Process) -> None:
    wanted = sorted(ALL)
    random.Random(5).shuffle(wanted)
    history = tuple(HistoryEntry(f"fish-rod-{n}", "click", NOW.timestamp() - 60, f"e{n}") for n in range(3))
    bought = {"fish-rod-0": NOW.timestamp(), wanted[0]: NOW.timestamp()}
    seen = dict.fromkeys(wanted[:9], 9.0)
    serving.shoppers.states["u"] = UserState(history, bought, seen, dismissed={wanted[1]: NOW.timestamp()})
    for scenario in ("by_taste", "home", "similar"):
        ranked = await serving.recommender.rank_items(
            SlateRequest(scenario, "u", context_items=("fish-rod-0",)), wanted
        )
        assert sorted(placed(ranked)) == sorted(wanted)
        assert (ranked.unavailable, ranked.unknown, ranked.filtered) == ((), (), ())
        scores = [item.score for item in ranked.slate.items]
        assert all(math.isfinite(score) for score in scores)
        assert scores == sorted(scores, reverse=True)
    assert not serving.impressions
    # A dislike takes a share of a score, which is by rank: among fewer items the steps are others, and so may the order be.
    serving.shoppers.states["v"] = UserState(history, bought, seen)
    slate = await serving.recommender.recommend(SlateRequest("by_taste", "v", n=10), "key")
    shown = ids(slate)
    random.Random(6).shuffle(shown)
    assert placed(await serving.recommender.rank_items(SlateRequest("by_taste", "v"), shown)) == ids(slate)


async def test_what_cannot_be_ranked_is_told_apart(serving: Process, open_shop: Shop) -> None:
    hidden = replace(make_items()[0], available=False)
    revision = await open_shop.catalogue.upsert_items([hidden, Item("brand-new", "A new fishing rod")])
    await serving.follower.catch_up(revision)
    scenario = replace(BY_TASTE, name="strict", filter={"field": "category", "contains": "Kitchen"})
    await serving.scenarios.put(scenario)
    request = SlateRequest("strict", filter={"field": "price", "lt": 20})
    listed = ["nowhere", "fish-net-3", hidden.item_id, "fish-net-1", "brand-new", "cook-pan-0"]
    ranked = await serving.recommender.rank_items(request, listed)
    assert sorted(placed(ranked)) == ["cook-pan-0", "fish-net-1"]  # the scenario's own filter does not count
    assert ranked.unknown == ("nowhere",)
    assert ranked.unavailable == (hidden.item_id,)
    assert ranked.filtered == ("fish-net-3", "brand-new")
    nothing = await serving.recommender.rank_items(request, ["nowhere"])
    assert (placed(nothing), nothing.unknown) == ([], ("nowhere",))


async def test_items_that_no_source_scored_stand_behind_by_what_is_known_of_them(
    serving: Process, open_shop: Shop
) -> None:
    await serving.scenarios.put(Scenario("old_hits", "What sold.", {"popular": 1.0}))
    history = tuple(HistoryEntry(f"fish-rod-{n}", "click", NOW.timestamp() - 60, f"e{n}") for n in range(3))
    serving.shoppers.states["u"] = UserState(history)
    fresh = [Item(f"new-{n}", "A sturdy fishing reel" if n == 3 else f"Kitchen bowl {n}") for n in range(6)]
    revision = await open_shop.catalogue.upsert_items(fresh)
    await serving.follower.catch_up(revision)
    while await serving.live.state.embed():
        pass
    listed = [*(item.item_id for item in fresh), "cook-pan-0"]
    ranked = await serving.recommender.rank_items(SlateRequest("old_hits", "u"), listed)
    assert placed(ranked)[:2] == ["cook-pan-0", "new-3"]
    assert sorted(placed(ranked)) == sorted(listed)
    assert ranked.slate.fallbacks == ("two_tower",)


async def test_without_a_model_a_list_is_ordered_by_what_sells_then_as_given(empty_shop: Shop) -> None:
    async with empty_shop.process() as process:
        await empty_shop.catalogue.upsert_items(make_items())
        await process.follower.follow_once()
        process.shoppers.trends = ["cook-pan-1", "fish-rod-2"]
        listed = ["fish-net-0", "fish-rod-2", "cook-bowl-0", "cook-pan-1"]
        ranked = await process.recommender.rank_items(SlateRequest("home"), listed)
        assert placed(ranked) == ["cook-pan-1", "fish-rod-2", "fish-net-0", "cook-bowl-0"]
        assert ranked.slate.degraded == ("model",)


async def test_a_version_that_is_not_live_can_be_looked_at(
    serving: Process, open_shop: Shop, trained: Snapshot
) -> None:
    await open_shop.publish(trained, "v2")
    await open_shop.publish(trained, "v3")
    revision = await open_shop.catalogue.upsert_items([Item("brand-new", "A carbon fishing rod", brand="new brand")])
    serving.shoppers.catalogue_revision = revision
    request = SlateRequest("home", n=5, model_version="v2")
    preview = await serving.recommender.recommend(request, "key")
    live = await serving.recommender.recommend(SlateRequest("home", n=5), "key")
    assert (preview.model_version, live.model_version) == ("v2", "v1")
    assert ids(preview) == ids(live)  # the same model by another name
    assert [shown.model_version for shown in serving.impressions] == ["v1"]  # a preview leaves no impression
    new = await serving.recommender.recommend(replace(request, filter={"field": "brand", "eq": "new brand"}), "key")
    assert ids(new) == ["brand-new"]
    assert new.items[0].sources != ("new",)  # it has a vector there as well

    following, _ = await serving.recommender.recommend_next(preview.next_cursor or "", "key")
    assert following.model_version == "v2"
    assert not set(ids(following)) & set(ids(preview))
    ranked = await serving.recommender.rank_items(SlateRequest("home", model_version="v3"), ["cook-pan-0"])
    assert ranked.slate.model_version == "v3"
    assert serving.recommender.previews.kept == ["v2", "v3"]
    with pytest.raises(NotFound) as caught:
        await serving.recommender.recommend(replace(request, model_version="v9"), "key")
    assert caught.value.code == "model_not_found"


async def test_a_preview_reads_profiles_where_no_model_is_live(
    empty_shop: Shop, shop: ShopData, trained: Snapshot
) -> None:
    await PostgresShopData(empty_shop.engine).load(shop, no_progress)
    await empty_shop.publish(trained, "v1")
    await empty_shop.scenarios.put(BY_TASTE)
    async with empty_shop.process() as process:

        async def shown(text: str, version: str | None) -> Slate:
            profile = User("", text=text)
            return await process.recommender.recommend(
                SlateRequest(BY_TASTE.name, n=5, user=profile, model_version=version)
            )

        for text, kind in (("I like fishing on rivers and at sea.", "fish"), ("I love cooking at home.", "cook")):
            assert {item_id.split("-")[0] for item_id in ids(await shown(text, "v1"))} == {kind}
        assert (await shown("I love cooking at home.", None)).degraded == ("model",)


async def test_few_previews_are_kept_and_none_for_long(serving: Process, open_shop: Shop, trained: Snapshot) -> None:
    for version in ("v2", "v3", "v4"):
        await open_shop.publish(trained, version)
    previews = Previews(serving.follower, open_shop.versions)
    for version in ("v2", "v3", "v2", "v4"):
        await previews.get(version)
    assert previews.kept == ["v2", "v4"]
    previews.close()
    assert previews.kept == []
    at_once = Previews(serving.follower, open_shop.versions, idle_seconds=0.0)
    assert (await at_once.get("v2")).model_version == "v2"
    await asyncio.sleep(0.001)  # timers that are due run before it returns
    assert at_once.kept == []


async def test_a_damaged_version_is_refused_and_the_live_one_goes_on(
    serving: Process, open_shop: Shop, trained: Snapshot
) -> None:
    await open_shop.publish(trained, "v2")
    (open_shop.artifacts.place("v2") / "vectors_ND.npy").write_bytes(b"not an array")
    with pytest.raises(Conflict) as caught:
        await serving.recommender.recommend(SlateRequest("home", model_version="v2"), "key")
    assert caught.value.code == "model_unusable"
    assert str(open_shop.artifacts.place("v2")) not in caught.value.detail
    assert (await serving.recommender.recommend(SlateRequest("home"), "key")).items
