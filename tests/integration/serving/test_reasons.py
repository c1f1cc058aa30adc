"""Reasons of slates of a really trained model: what is cited truly carried the item, and nothing is made up."""

from __future__ import annotations

import pytest

from app.catalogue.item import Consent, Item, User
from app.feedback.state import UserState
from app.language.reason_texts import texts_for
from app.scenarios.scenario import Scenario
from app.serving.reasons.reason import Evidence
from app.serving.slate import Slate, SlateRequest
from tests.integration.serving.conftest import Process
from tests.integration.serving.test_recommender import did

NO_CAUSE = {"source"}


async def reasons(serving: Process, scenario: str = "home", **asked: object) -> Slate:
    request = SlateRequest(scenario, **({"user_id": "anna", "n": 10, "reasons": True} | asked))  # type: ignore[arg-type]
    return await serving.recommender.recommend(request)


def evidence(slate: Slate) -> list[Evidence]:
    return [e for item in slate.items if item.reason for e in item.reason.evidence]


def kinds(slate: Slate) -> set[str]:
    return {e.kind for e in evidence(slate)}


async def test_what_was_done_is_the_reason(serving: Process) -> None:
    serving.shoppers.states["anna"] = UserState(history=did("cook-pan-1", kind="purchase"))
    slate = await reasons(serving)
    first = slate.items[0].reason
    assert first
    assert first.text.startswith("Because you bought “sturdy kitchen pan”")
    assert (first.evidence[0].kind, first.evidence[0].item_id, first.evidence[0].event) == (
        "history",
        "cook-pan-1",
        "purchase",
    )
    assert all(0 < e.share <= 1 for e in evidence(slate))


async def test_reasons_come_only_where_they_are_asked_for(serving: Process) -> None:
    serving.shoppers.states["anna"] = UserState(history=did("cook-pan-1"))
    plain, told = await reasons(serving, reasons=False), await reasons(serving)
    assert [item.reason for item in plain.items] == [None] * 10
    assert [(item.item_id, item.score) for item in plain.items] == [(item.item_id, item.score) for item in told.items]


async def test_the_viewed_item_is_the_reason_beside_it(serving: Process) -> None:
    slate = await reasons(serving, "similar", user_id=None, context_items=("cook-pan-1", "cook-pan-1"))  # no cart
    led = [item.reason.evidence[0] for item in slate.items if item.reason]
    assert sum((e.kind, e.item_id) == ("context", "cook-pan-1") for e in led) >= 8
    assert all(
        "sturdy kitchen pan" in item.reason.text and "cart" not in item.reason.text
        for item in slate.items
        if item.reason and item.reason.evidence[0].kind == "context"
    )


async def test_a_cart_that_carried_an_item_as_a_whole_is_told_as_one(serving: Process) -> None:
    """Of two that are alike each could be missing; both together could not."""
    cart = ("cook-pan-1", "cook-pan-2", "cook-pot-1", "cook-pot-2", "cook-bowl-1")
    slate = await reasons(serving, "cart", user_id=None, context_items=cart, context={"locale": "zh"})
    told = [item.reason for item in slate.items if item.reason]
    assert {reason.text for reason in told if reason.evidence[0].kind == "cart"} == {"可与您购物车中的商品搭配"}
    for reason in told:
        (together,) = [e.share for e in reason.evidence if e.kind == "cart"]
        assert all(together >= e.share for e in reason.evidence if e.kind == "context")


async def test_a_stranger_is_told_no_cause(serving: Process) -> None:
    slate = await reasons(serving, user_id=None)
    assert kinds(slate) == NO_CAUSE
    allowed = {texts_for().say("source", name) for name in ("popular", "trending", "new", "other")}
    assert {item.reason.text for item in slate.items if item.reason} <= allowed


async def test_without_consent_nothing_done_is_cited(serving: Process) -> None:
    user = User("anna", text="cooking", consent=Consent(personalize=False))
    serving.shoppers.states["anna"] = UserState(history=did("cook-pan-1", "cook-pot-2"), profile=user)
    assert kinds(await reasons(serving)) == NO_CAUSE


async def test_a_profile_in_words_is_a_reason(serving: Process) -> None:
    slate = await reasons(serving, "by_taste", user=User("", text="Fishing at sea is all I like."))
    assert "profile" in kinds(slate)
    assert "history" not in kinds(slate)


async def test_words_asked_with_are_the_reason_of_what_they_carried(serving: Process) -> None:
    serving.shoppers.states["anna"] = UserState(history=did("fish-rod-1", "fish-reel-2"))
    slate = await reasons(serving, query="a sharp knife for cooks under 40")
    assert slate.items[0].item_id.startswith("cook-knife")
    first = slate.items[0].reason
    assert first
    assert first.text == "Matches your search: a sharp knife for cooks"
    assert (first.evidence[0].kind, first.evidence[0].words) == ("query", "a sharp knife for cooks")
    assert first.evidence[0].share > 0.5
    chinese = await reasons(serving, query="a sharp knife for cooks under 40", context={"locale": "zh"})
    assert chinese.items[0].reason
    assert chinese.items[0].reason.text == "符合您的搜索：a sharp knife for cooks"
    only_demands = await reasons(serving, query="under 40")
    assert "query" not in kinds(only_demands)


async def test_the_share_of_a_query_is_what_the_score_is_short_of_without_it(serving: Process) -> None:
    await serving.scenarios.put(Scenario("words", "Search.", {"query": 1.0}, n=5))
    by_words = evidence(await reasons(serving, "words", user_id=None, query="whisk", n=5))
    assert [e.share for e in by_words if e.kind == "query"] == [1.0] * 5
    await serving.scenarios.put(Scenario("asked", "Search.", {"query": 2.0, "popular": 1.0}, n=10))
    slate = await reasons(serving, "asked", user_id=None, query="whisk", n=64)
    without = await reasons(serving, "asked", user_id=None, n=64)
    score_of = {item.item_id: item.score for item in without.items if item.sources == ("popular",)}
    both = [item for item in slate.items if {*item.sources} == {"query", "popular"} and item.item_id in score_of]
    assert both
    for item in both:
        told = next((e.share for e in item.reason.evidence if e.kind == "query"), 0.0) if item.reason else 0.0
        assert told == pytest.approx(
            max(0.0, 1 - score_of[item.item_id] / item.score), abs=0.011
        )  # below 0.01: not told


async def test_the_language_is_that_of_the_request_then_of_the_user(serving: Process) -> None:
    anna = UserState(history=did("cook-pan-1"), profile=User("anna", locale="zh-CN"))
    serving.shoppers.states["anna"] = anna
    assert "因为您浏览过“sturdy kitchen pan”" in (await reasons(serving)).items[0].reason.text  # type: ignore[union-attr]
    english = (await reasons(serving, context={"locale": "en-US"})).items[0].reason
    assert english
    assert english.text.startswith("Because you looked at")


async def test_a_fallback_says_what_it_is(empty_shop) -> None:
    await empty_shop.catalogue.upsert_items([Item("i1", title="One"), Item("i2", title="Two")])
    async with empty_shop.process() as process:
        process.shoppers.trends = ["i2"]
        slate = await reasons(process)
        assert [item.reason.text for item in slate.items if item.reason] == [
            "Popular in this shop right now",
            "New in the shop",
        ]


async def test_what_the_graph_carried_names_what_is_in_common(serving: Process) -> None:
    serving.shoppers.states["anna"] = UserState(history=did("cook-pan-1"))
    found = [e for e in evidence(await reasons(serving)) if e.kind == "attribute"]
    assert found
    shop = serving.live.current.catalogue
    for slate_item in (await reasons(serving)).items:
        for e in slate_item.reason.evidence if slate_item.reason else ():
            if e.kind == "attribute":
                item, origin = shop.item(slate_item.item_id), shop.item(e.item_id or "")
                assert item
                assert origin
                assert e.value in attributes(item)[e.attribute or ""]
                if e.attribute != "price":
                    assert e.value in attributes(origin)[e.attribute or ""]


def attributes(item: Item) -> dict[str, tuple[str, ...]]:
    return {"brand": (item.brand or "",), "category": item.category, "tag": item.tags, "price": (f"{item.price:g}",)}
