"""Slates of a really trained model over a real catalogue: what a shopper did, says and bought shapes them, rules always hold."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta

import pytest

from app.catalogue.item import Consent, Item, User
from app.errors import Invalid, NotFound
from app.feedback.event import Event
from app.feedback.intake import FeedbackIntake
from app.feedback.state import HistoryEntry, UserState
from app.scenarios.defaults import READY_MADE
from app.scenarios.scenario import Exclusions, Scenario
from app.serving.slate import Slate, SlateRequest
from app.stores.postgres.events import PostgresEvents
from app.stores.postgres.revisions import PostgresRevisions
from app.stores.postgres.subjects import PostgresSubjects
from app.stores.redis.live_state import RedisLiveState
from app.types import utc_now
from tests.integration.serving.conftest import NOW, Process, Shop


def at(**ago: float) -> float:
    return (NOW - timedelta(**ago)).timestamp()


def did(*item_ids: str, kind: str = "click") -> tuple[HistoryEntry, ...]:
    return tuple(
        HistoryEntry(item_id, kind, at(minutes=10 - place), f"e{place}") for place, item_id in enumerate(item_ids)
    )


def ids(slate: Slate) -> list[str]:
    return [item.item_id for item in slate.items]


def share_of(kind: str, slate: Slate) -> float:
    return sum(item_id.startswith(kind) for item_id in ids(slate)) / len(slate.items)


async def test_a_stranger_gets_a_full_slate_from_the_model(serving: Process) -> None:
    slate = await serving.recommender.recommend(SlateRequest("home", n=10))
    assert len(set(ids(slate))) == 10
    assert slate.model_version == "v1"
    assert (slate.fallbacks, slate.degraded) == ((), ())
    assert [item.position for item in slate.items] == list(range(1, 11))
    scores = [item.score for item in slate.items]
    assert scores == sorted(scores, reverse=True)
    assert all(math.isfinite(score) for score in scores)
    assert all(item.sources for item in slate.items)


@pytest.mark.parametrize(("kind", "clicked"), [("fish", "fish-rod-1"), ("cook", "cook-pan-1")])
async def test_what_a_shopper_did_shapes_the_next_slate(serving: Process, kind: str, clicked: str) -> None:
    serving.shoppers.states["anna"] = UserState(history=did(clicked, f"{clicked[:-1]}2"))
    slate = await serving.recommender.recommend(SlateRequest("home", user_id="anna", n=10))
    assert share_of(kind, slate) >= 0.9


async def test_a_profile_in_words_shapes_the_slate_of_a_stranger(serving: Process) -> None:
    async def lean(text: str) -> float:
        request = SlateRequest("by_taste", user=User("", text=text))
        return share_of("fish", await serving.recommender.recommend(request))

    fishing, cooking = await lean("Fishing at sea is all I like."), await lean("I cook every evening and love it.")
    assert fishing >= 0.7
    assert cooking <= 0.3


async def test_an_inline_profile_wins_over_the_stored_one(serving: Process) -> None:
    stored, inline = User("anna", text="fishing in rivers"), User("anna", text="cooking at home")
    alone = await serving.recommender.recommend(SlateRequest("home", user=inline))
    serving.shoppers.states["anna"] = UserState(profile=stored)
    both = await serving.recommender.recommend(SlateRequest("home", user_id="anna", user=inline))
    assert ids(both) == ids(alone)


async def test_a_viewed_item_leads_to_its_kind_and_is_not_shown(serving: Process) -> None:
    slate = await serving.recommender.recommend(SlateRequest("similar", context_items=("cook-pan-0",), n=10))
    assert share_of("cook", slate) >= 0.9
    assert "cook-pan-0" not in ids(slate)


async def test_without_consent_the_slate_is_a_strangers_but_purchases_stay_away(serving: Process) -> None:
    bought = ids(await serving.recommender.recommend(SlateRequest("home", n=10)))[0]
    stranger = await serving.recommender.recommend(SlateRequest("home", n=10, exclude_items=frozenset({bought})))
    serving.shoppers.states["anna"] = UserState(
        history=did("cook-pan-1", "cook-pan-2"),
        purchased={bought: at(days=1)},
        profile=User("anna", text="cooking", consent=Consent(personalize=False)),
    )
    slate = await serving.recommender.recommend(SlateRequest("home", user_id="anna", n=10))
    assert ids(slate) == ids(stranger)


async def test_purchased_items_stay_away_except_in_email(serving: Process) -> None:
    bought = ids(await serving.recommender.recommend(SlateRequest("home", user_id="anna", n=5)))
    serving.shoppers.states["anna"] = UserState(purchased=dict.fromkeys(bought, at(days=3)))
    home = await serving.recommender.recommend(SlateRequest("home", user_id="anna", n=200, diagnostics=True))
    email = await serving.recommender.recommend(SlateRequest("email", user_id="anna", n=200))
    assert not set(bought) & set(ids(home))
    assert set(bought) <= set(ids(email))
    assert home.diagnostics
    assert home.diagnostics.dropped["purchased"] == 5


async def test_a_rare_filter_returns_exactly_what_matches(serving: Process) -> None:
    rare = {"and": [{"field": "tags", "contains": "whisk"}, {"field": "price", "lt": 20}]}
    slate = await serving.recommender.recommend(
        SlateRequest("home", filter=rare, n=20, fields=("price", "tags", "brand"))
    )
    assert set(ids(slate)) == {"cook-whisk-0", "cook-whisk-1"}
    assert dict(slate.items[0].fields).keys() == {"price", "tags", "brand"}
    assert {item.fields["price"] for item in slate.items} == {10.0, 15.0}
    nothing = await serving.recommender.recommend(SlateRequest("home", filter={"field": "price", "gt": 1e6}))
    assert nothing.items == ()


async def test_a_slate_is_short_only_when_the_catalogue_is(serving: Process) -> None:
    slate = await serving.recommender.recommend(SlateRequest("home", n=200, exclude_items=frozenset({"fish-rod-0"})))
    assert len(set(ids(slate))) == 63
    few = await serving.recommender.recommend(SlateRequest("home", exclude_items=frozenset({"fish-rod-0"}), n=1))
    assert len(few.items) == 1


async def test_a_source_with_nothing_to_say_is_made_up_for_by_the_fallback(serving: Process) -> None:
    await serving.scenarios.put(Scenario("pairs", "Goes together.", {"item_cf": 1.0}, fallback=("new", "home")))
    slate = await serving.recommender.recommend(SlateRequest("pairs", n=5))
    assert slate.fallbacks == ("new",)
    assert {item.sources for item in slate.items} == {("new",)}
    by_scenario = Scenario("pairs", "Goes together.", {"item_cf": 1.0}, fallback=("home",))
    await serving.scenarios.put(by_scenario)
    assert (await serving.recommender.recommend(SlateRequest("pairs", n=5))).fallbacks == ("home",)


async def test_a_scenario_just_put_is_served_from_its_words(serving: Process) -> None:
    with pytest.raises(NotFound, match="angling"):
        await serving.recommender.recommend(SlateRequest("angling"))
    await serving.scenarios.put(Scenario("angling", "Rods and reels for people who fish.", {"two_tower": 1.0}, n=5))
    slate = await serving.recommender.recommend(SlateRequest("angling"))
    assert len(slate.items) == 5
    assert serving.live.current.model
    assert "angling" in serving.live.current.model.table.row_of


async def test_past_purchases_come_back_only_where_the_scenario_asks_for_them(serving: Process) -> None:
    bought = did("cook-pan-1", "cook-pot-2", "fish-rod-0", kind="purchase")
    purchased = {entry.item_id: entry.occurred_at for entry in bought}
    serving.shoppers.states["anna"] = UserState(history=bought, purchased=purchased)
    again = Scenario("again", "Favourites to buy again.", {"repeat": 1.0}, exclude=Exclusions(purchased_days=0), n=3)
    await serving.scenarios.put(again)
    await serving.scenarios.put(replace(again, name="later", exclude=Exclusions(purchased_days=30)))
    slate = await serving.recommender.recommend(SlateRequest("again", user_id="anna", diagnostics=True))
    assert set(ids(slate)) == set(purchased)
    assert {item.sources for item in slate.items} == {("repeat",)}
    assert slate.fallbacks == ()
    for scenario in ("later", "home"):
        shown = await serving.recommender.recommend(SlateRequest(scenario, user_id="anna", n=30))
        assert not set(ids(shown)) & set(purchased)
        assert not any("repeat" in item.sources for item in shown.items)
    email = await serving.recommender.recommend(SlateRequest("email", user_id="anna", n=30))
    assert any("repeat" in item.sources for item in email.items)


async def test_diagnostics_tell_what_happened(serving: Process) -> None:
    serving.shoppers.states["anna"] = UserState(history=did("cook-pan-1"))
    request = SlateRequest("home", user_id="anna", n=10, diagnostics=True, filter={"field": "price", "lt": 20})
    told = (await serving.recommender.recommend(request)).diagnostics
    assert told
    assert told.candidates["two_tower"] > 0
    assert told.dropped["filter"] == 32
    assert {"state", "rules", "candidates", "total"} <= told.timings_ms.keys()
    assert set(told.weights) == set(READY_MADE["home"].sources) - {"query", "editorial"}  # no words, no pins
    assert (await serving.recommender.recommend(SlateRequest("home"))).diagnostics is None


async def test_what_was_shown_is_recorded(serving: Process) -> None:
    request = SlateRequest("home", user_id="anna", session_id="s1", n=3, context={"device": "phone"})
    slate = await serving.recommender.recommend(request)
    [shown] = serving.impressions
    assert (shown.recommendation_id, shown.scenario, shown.model_version) == (slate.recommendation_id, "home", "v1")
    assert (shown.user_id, shown.session_id, shown.context) == ("anna", "s1", {"device": "phone"})
    assert list(shown.item_ids) == ids(slate)
    assert shown.propensities == (1.0, 1.0, 1.0)


async def test_a_field_that_no_item_can_have_is_refused(serving: Process) -> None:
    with pytest.raises(Invalid) as error:
        await serving.recommender.recommend(SlateRequest("home", fields=("title", "tittle")))
    assert (error.value.code, error.value.loc) == ("unknown_field", ("fields", 1))


async def test_without_a_model_what_sells_and_what_is_new_fill_the_slate(empty_shop) -> None:
    items = [Item(f"i{n}", title=f"Thing {n}", published_at=NOW - timedelta(days=n)) for n in range(6)]
    await empty_shop.catalogue.upsert_items(items)
    async with empty_shop.process() as process:
        process.shoppers.trends = ["i4", "unknown", "i2"]
        slate = await process.recommender.recommend(SlateRequest("home", n=5))
        assert ids(slate) == ["i4", "i2", "i0", "i1", "i3"]
        assert (slate.model_version, slate.fallbacks, slate.degraded) == (None, ("popular", "new"), ("model",))
        assert all(item.cold for item in slate.items)


async def test_an_empty_shop_gives_an_empty_slate(empty_shop) -> None:
    async with empty_shop.process() as process:
        slate = await process.recommender.recommend(SlateRequest("home"))
        assert (slate.items, slate.degraded, process.impressions) == ((), ("model",), [])


async def test_events_change_the_next_slate_through_the_real_stores(open_shop: Shop, redis_url: str) -> None:
    events = PostgresEvents(open_shop.engine)
    live_state = RedisLiveState(
        redis_url,
        events=events,
        subjects=PostgresSubjects(open_shop.engine),
        revisions=PostgresRevisions(open_shop.engine),
    )
    intake = FeedbackIntake(events, live_state)
    await live_state.start()
    await intake.start()
    async with open_shop.process(live_state=live_state) as process:
        request = SlateRequest("home", session_id="guest", n=10)
        before = await process.recommender.recommend(request)
        wanted, noun = (
            ("fish", "rod") if share_of("cook", before) > 0.5 else ("cook", "pot")
        )  # what a stranger sees less of
        clicks = [Event(f"c{n}", "click", f"{wanted}-{noun}-{n}", utc_now(), session_id="guest") for n in range(3)]
        await intake.submit(clicks)
        after = await process.recommender.recommend(request)
        assert share_of(wanted, after) > share_of(wanted, before)
        bought = ids(after)[0]
        await intake.submit([Event("p1", "purchase", bought, utc_now(), session_id="guest")])
        last = await process.recommender.recommend(request)
        assert bought not in ids(last)
        assert len(last.items) == 10
    await intake.close()
    await live_state.close()
