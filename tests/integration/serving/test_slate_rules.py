"""Each rule of a slate over a really trained snapshot: a slate that it changes, and what it must not touch."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from app.catalogue.item import Item, ItemChanges
from app.errors import Invalid
from app.feedback.event import Event
from app.feedback.intake import FeedbackIntake
from app.feedback.state import Exposure, HistoryEntry, UserState
from app.retrieval.likeness import likeness_vectors
from app.scenarios.scenario import Boost, Caps, Exclusions, Pin, Promotion, Rotation, Scenario
from app.serving import pipeline
from app.serving.live import LiveSnapshot
from app.serving.pipeline import Draft
from app.serving.slate import RuleReport, SlateRequest
from app.stores.postgres.events import PostgresEvents
from app.stores.postgres.revisions import PostgresRevisions
from app.stores.postgres.subjects import PostgresSubjects
from app.stores.redis.live_state import RedisLiveState
from tests.integration.serving.conftest import BY_TASTE, NOW, Process, Shop
from tests.integration.serving.slates import draft_of, ids_of, live_of

HOME = Scenario("home", "Home page.", n=10)
COOK = {"field": "category", "contains": "Kitchen"}
CHEAP = {"field": "price", "lt": 12}
NUM_DRAWS = 1_000


@pytest.fixture(scope="module")
def live(trained, encoder) -> LiveSnapshot:
    return live_of(trained, encoder)


def ago(**time: float) -> float:
    return (NOW - timedelta(**time)).timestamp()


def clicks(*item_ids: str) -> UserState:
    return UserState(
        history=tuple(HistoryEntry(item, "click", ago(hours=9 - n), item) for n, item in enumerate(item_ids))
    )


def report(draft: Draft, rule: str) -> RuleReport:
    return next(report for report in draft.reports if report.rule == rule)


def share(draft: Draft, kind: str) -> float:
    return sum(item_id.startswith(kind) for item_id in ids_of(draft)) / len(draft.picks)


def likeness(draft: Draft) -> float:
    """Mean cosine between the items of a slate."""
    model = draft.live.model
    assert model is not None
    vectors = likeness_vectors(model.snapshot, model.space, np.asarray([pick.row for pick in draft.picks]))
    K = len(vectors)
    return float(((vectors @ vectors.T).sum() - K) / (K * (K - 1)))


ANGLER = clicks("fish-rod-1", "fish-reel-2", "fish-lure-0")


def test_a_boost_multiplies_scores_before_anything_else(live):
    plain = draft_of(live, HOME, state=ANGLER)
    assert share(plain, "fish") >= 0.8
    request = SlateRequest("home", boosts=(Boost(COOK, 10.0),), diagnostics=True)
    boosted = draft_of(live, HOME, request, ANGLER)
    assert share(boosted, "cook") > share(plain, "cook")
    assert all("boost" in pick.rules for pick in boosted.picks if live.catalogue.id_at(pick.row).startswith("cook"))
    told = report(boosted, "boost")
    assert told.moved == len(set(ids_of(boosted)) - set(ids_of(plain)))
    assert set(told.examples) <= set(ids_of(boosted))
    by_scenario = draft_of(live, replace(HOME, boosts=(Boost(COOK, 10.0),)), state=ANGLER)
    assert ids_of(by_scenario) == ids_of(boosted)
    scores = {pick.row: pick.score for pick in plain.picks}
    lowered = draft_of(live, HOME, SlateRequest("home", n=64, boosts=(Boost(COOK, 0.1),)), ANGLER)
    for pick in lowered.picks:
        if pick.row in scores:
            factor = 0.1 if live.catalogue.id_at(pick.row).startswith("cook") else 1.0
            assert pick.score == pytest.approx(factor * scores[pick.row], rel=1e-5)


def test_boosts_beyond_any_number_leave_scores_that_are_numbers(live):
    """Old items are worth nothing at all here, and nothing times infinity is no number."""
    scenario = replace(HOME, freshness_half_life_days=0.001)
    for factor in (10.0, 0.1):
        draft = draft_of(live, replace(scenario, boosts=(Boost(COOK, factor),) * 100), SlateRequest("home", n=64))
        assert np.isfinite([pick.score for pick in draft.picks]).all()


def test_a_callers_boost_needs_the_item_it_speaks_of_and_a_scenarios_is_left_out(live):
    same_brand = Boost({"field": "brand", "eq": {"context_item": "brand"}}, 5.0)
    with pytest.raises(Invalid) as error:
        draft_of(live, HOME, SlateRequest("home", boosts=(same_brand,)))
    assert error.value.loc == ("boosts", 0, "filter", "eq")
    with pytest.raises(Invalid):  # where there is no model, no candidate could be boosted, and it is wrong all the same
        draft_of(replace(live, model=None), HOME, SlateRequest("home", boosts=(same_brand,)))
    assert ids_of(draft_of(live, replace(HOME, boosts=(same_brand,)))) == ids_of(draft_of(live, HOME))
    viewing = SlateRequest("home", context_items=("cook-pan-1",))
    boosted = draft_of(live, replace(HOME, boosts=(same_brand,)), viewing)
    brands = live.catalogue.labels(np.asarray([pick.row for pick in boosted.picks]), "brand")
    plain = draft_of(live, HOME, viewing)
    assert brands.count("cook-brand-1") > live.catalogue.labels(
        np.asarray([pick.row for pick in plain.picks]), "brand"
    ).count("cook-brand-1")


def test_pins_stand_in_place_while_they_hold(live):
    pins = (
        Pin(3, "cook-pan-0"), Pin(1, "cook-pot-0", NOW - timedelta(days=1), NOW + timedelta(days=1)), Pin(3, "cook-pan-1"),
        Pin(2, "cook-bowl-0", NOW + timedelta(days=1)), Pin(4, "cook-bowl-1", None, NOW), Pin(5, "unknown"), Pin(11, "cook-pan-2"),
    )  # fmt: skip
    draft = draft_of(live, replace(HOME, pins=pins), state=ANGLER)
    item_ids = ids_of(draft)
    assert (item_ids[2], item_ids[0], len(item_ids)) == ("cook-pan-0", "cook-pot-0", 10)
    assert not {"cook-bowl-0", "cook-bowl-1", "cook-pan-2"} & set(item_ids[:3])
    assert ("pin" in draft.picks[2].rules, draft.picks[2].sources[0]) == (True, "editorial")
    others = [item_id for item_id in item_ids if item_id not in ("cook-pan-0", "cook-pot-0")]
    assert others == [i for i in ids_of(draft_of(live, HOME, state=ANGLER)) if i in others]
    tomorrow = draft_of(live, replace(HOME, pins=pins), now=NOW + timedelta(days=1), state=ANGLER)
    assert ids_of(tomorrow)[1] == "cook-bowl-0"


@pytest.mark.parametrize(
    ("request_", "state"),
    [
        (SlateRequest("home", exclude_items=frozenset({"cook-pan-0"})), UserState()),
        (SlateRequest("home", filter={"field": "category", "contains": "Fishing"}), UserState()),
        (SlateRequest("home"), UserState(purchased={"cook-pan-0": NOW.timestamp()})),
        (SlateRequest("home"), UserState(dismissed={"cook-pan-0": NOW.timestamp()})),
    ],
)
def test_neither_pin_nor_promotion_nor_boost_opens_a_hard_rule(live, request_, state):
    only = {"field": "item_id", "eq": "cook-pan-0"}
    scenario = replace(
        HOME, pins=(Pin(1, "cook-pan-0"),), page_promotions=(Promotion(only, 1.0),), boosts=(Boost(only, 10.0),)
    )
    assert "cook-pan-0" in ids_of(draft_of(live, scenario))
    assert "cook-pan-0" not in ids_of(draft_of(live, scenario, request_, state))
    for item in (Item("cook-pan-0", "pan", available=False), Item("cook-pan-0", "pan", expires_at=NOW)):
        changed = replace(live, catalogue=live.catalogue.apply(ItemChanges(2, (item,))))
        assert "cook-pan-0" not in ids_of(draft_of(changed, scenario))


def test_a_promotion_has_its_share_spread_over_the_slate(live):
    scenario = replace(HOME, page_promotions=(Promotion(COOK, 0.4),))
    draft = draft_of(live, scenario, state=ANGLER)
    places = [place for place, item_id in enumerate(ids_of(draft), start=1) if item_id.startswith("cook")]
    plain = draft_of(live, HOME, state=ANGLER)
    assert share(plain, "cook") < 0.4 <= share(draft, "cook")
    assert places[0] <= 3
    assert places[-1] - places[0] >= 5
    kept = [item_id for item_id in ids_of(draft) if item_id.startswith("fish")]
    assert kept == [item_id for item_id in ids_of(plain) if item_id.startswith("fish")][: len(kept)]
    assert report(draft, "promotion").moved == sum("promotion" in pick.rules for pick in draft.picks) > 0


def test_a_promotion_reaches_past_the_candidates(live):
    """The scenario's only source never brings these items."""
    rare = {"and": [COOK, {"field": "tags", "contains": "whisk"}]}
    scenario = Scenario("home", "", {"item_cf": 1.0}, n=10, page_promotions=(Promotion(rare, 0.5),))
    for state in (ANGLER, UserState()):
        brought = [item_id for item_id in ids_of(draft_of(live, scenario, state=state)) if "whisk" in item_id]
        assert sorted(brought) == [f"cook-whisk-{n}" for n in range(4)]  # there are four


def test_a_dislike_keeps_the_item_out_and_lowers_its_kind_until_it_is_forgotten(live):
    def scores(days: float | None, *more: str) -> dict[str, float]:
        dismissed = {} if days is None else dict.fromkeys(("fish-rod-0", *more), ago(days=days))
        draft = draft_of(live, replace(HOME, n=64), state=replace(ANGLER, dismissed=dismissed))
        return {live.catalogue.id_at(pick.row): pick.score for pick in draft.picks}

    before, fresh, old = scores(None), scores(0), scores(90)
    assert "fish-rod-0" not in fresh
    assert fresh["fish-rod-3"] < 0.6 * before["fish-rod-3"]
    assert fresh["fish-rod-3"] < old["fish-rod-3"] < before["fish-rod-3"]
    lost = {item_id: 1 - fresh[item_id] / before[item_id] for item_id in fresh if before[item_id] > 0}
    kinds = {kind: np.mean([lost[i] for i in lost if i.startswith(kind)]) for kind in ("fish-rod", "fish", "cook")}
    assert kinds["fish-rod"] > kinds["fish"] > kinds["cook"]
    assert kinds["cook"] < 0.1
    twice = scores(0, "fish-rod-1")
    assert twice["fish-rod-3"] < fresh["fish-rod-3"]
    stranger = draft_of(live, HOME, state=replace(ANGLER, dismissed={"fish-rod-0": ago(days=0)}), personal=False)
    assert ids_of(stranger) == ids_of(draft_of(live, HOME, personal=False))


def test_what_was_seen_too_often_stays_away_but_never_leaves_an_empty_slate(live):
    first = ids_of(draft_of(live, HOME))
    scenario = replace(HOME, exclude=Exclusions(seen_impressions=3))
    other = next(
        item_id for item_id in ids_of(draft_of(live, HOME, SlateRequest("home", n=20))) if item_id not in first
    )
    seen = UserState(seen=dict.fromkeys(first, 2.99) | {other: 2.0})
    assert not set(first) & set(ids_of(draft_of(live, scenario, state=seen)))
    assert ids_of(draft_of(live, HOME, state=seen)) == first
    only = SlateRequest("home", filter={"field": "item_id", "in": first})
    again = draft_of(live, scenario, only, seen)
    assert (set(ids_of(again)), again.fallbacks[0]) == (set(first), "seen")


def test_diversity_makes_a_slate_less_alike_and_no_shorter(live):
    alike = [likeness(draft_of(live, HOME, SlateRequest("home", diversity=d), ANGLER)) for d in (0, 0.25, 0.5, 0.75, 1)]
    assert alike == sorted(alike, reverse=True)
    assert alike[0] - alike[-1] > 0.1
    assert ids_of(draft_of(live, replace(HOME, diversity=0.5), state=ANGLER)) == ids_of(
        draft_of(live, HOME, SlateRequest("home", diversity=0.5), ANGLER)
    )
    assert ids_of(draft_of(live, replace(HOME, diversity=0.5), SlateRequest("home", diversity=0.0), ANGLER)) == ids_of(
        draft_of(live, HOME, state=ANGLER)
    )


def test_calibration_follows_the_shoppers_own_mix(live):
    mixed = clicks("cook-pan-0", "cook-pot-1", "fish-rod-0", "fish-rod-1", "fish-reel-1", "fish-lure-2")
    plain, followed = (draft_of(live, replace(HOME, n=12, calibration=c), state=mixed) for c in (0.0, 1.0))
    assert abs(share(followed, "fish") - 4 / 6) <= 0.1
    assert abs(share(followed, "fish") - 4 / 6) <= abs(share(plain, "fish") - 4 / 6)
    assert ids_of(draft_of(live, replace(HOME, calibration=1.0))) == ids_of(draft_of(live, HOME)), (
        "of a stranger nothing is known"
    )


def test_old_interests_neither_break_a_slate_nor_are_lost(live):
    """Weights of one half-life a month: after twelve years a float of 32 bits holds none."""
    scenario, kinds = replace(HOME, n=12, calibration=1.0), ("cook-pan-0", "fish-rod-0", "fish-rod-1")

    def after(*days: float) -> Draft:
        done = [HistoryEntry(item, "click", ago(days=d), item) for item, d in zip(kinds, days, strict=True)]
        return draft_of(live, scenario, state=UserState(history=tuple(done)))

    for years in (20 * 365, 60 * 365):
        mixed = after(years, 1, 0)
        assert len(set(ids_of(mixed))) == 12, "each item stands once"
        assert share(mixed, "fish") == 1.0
        alone = after(years, years, years)
        assert share(alone, "fish") == pytest.approx(2 / 3, abs=0.1), "who comes back is met by the old mix"


def test_caps_hold_and_yield_before_a_slate_falls_short(live):
    def most(draft: Draft, name: str) -> int:
        return max(Counter(live.catalogue.labels(np.asarray([pick.row for pick in draft.picks]), name)).values())

    capped = draft_of(live, replace(HOME, n=8, caps=Caps(brand=2)), state=ANGLER)
    assert (most(capped, "brand"), len(capped.picks)) == (2, 8)
    assert most(draft_of(live, replace(HOME, n=8), state=ANGLER), "brand") > 2
    assert report(capped, "caps").dropped > 0
    by_category = draft_of(live, replace(HOME, caps=Caps(category=5)), state=ANGLER)
    assert share(by_category, "fish") == 0.5
    wide = draft_of(live, replace(HOME, n=30, caps=Caps(brand=2, category=5)), state=ANGLER)
    assert len(wide.picks) == 30


def test_fresh_items_rise(live):
    old = draft_of(live, replace(HOME, n=64, freshness_half_life_days=1.0))
    plain = {pick.row: pick.score for pick in draft_of(live, replace(HOME, n=64)).picks}
    for pick in old.picks:
        age_days = 60 + int(live.catalogue.id_at(pick.row)[-1])
        if plain[pick.row] > 0 and pick.sources not in (("popular",), ("new",)):
            assert pick.score == pytest.approx(plain[pick.row] * 0.5**age_days, rel=1e-3)


def test_rotation_changes_its_share_every_period_and_holds_still_inside(live):
    scenario = replace(HOME, rotation=Rotation(0.3, 60))
    start = NOW.replace(minute=0, second=0)

    def slate(who: str, **later: float) -> list[str]:
        return ids_of(draft_of(live, scenario, SlateRequest("home", user_id=who), now=start + timedelta(**later)))

    plain = ids_of(draft_of(live, HOME, now=start))
    assert slate("anna") == slate("anna", minutes=59)
    assert slate("anna")[:7] == plain[:7]
    hours = [slate("anna", hours=h)[7:] for h in range(30)]
    assert len({tuple(tail) for tail in hours}) > 15
    assert len({item_id for tail in hours for item_id in tail}) == 9
    assert len({tuple(slate(f"u{n}")[7:]) for n in range(20)}) > 10


def frequencies(
    live: LiveSnapshot, scenario: Scenario, monkeypatch: pytest.MonkeyPatch, **more: Any
) -> tuple[dict[tuple[int, int], float], list[Draft]]:
    """(position, row) -> share of 2,000 draws. What is the same in all of them, the candidates, is found once."""
    found = draft_of(live, scenario, SlateRequest("home", user_id="anna"), **more).ranking
    assert found is not None
    monkeypatch.setattr(pipeline, "retrieve_all", lambda calls, _: [found.candidates] * len(calls))
    drafts = [
        draft_of(live, scenario, SlateRequest("home", user_id="anna", seed=seed), **more) for seed in range(NUM_DRAWS)
    ]
    counts = Counter((place, pick.row) for draft in drafts for place, pick in enumerate(draft.picks))
    return {where: count / NUM_DRAWS for where, count in counts.items()}, drafts


SHOWN = {
    f"{kind}-{noun}-{n}": Exposure(500.0, 30.0) for kind, noun in (("fish", "rod"), ("cook", "pan")) for n in range(4)
}


@pytest.mark.parametrize("method", ["epsilon", "thompson"])
def test_logged_propensities_are_how_often_an_item_stands_there(live, method, monkeypatch):
    scenario = replace(
        HOME, n=8, exploration=0.3, exploration_method=method, rotation=Rotation(0.25, 60), caps=Caps(brand=4),
        pins=(Pin(2, "cook-pan-0"),), page_promotions=(Promotion(CHEAP, 0.3),),
    )  # fmt: skip
    found, drafts = frequencies(live, scenario, monkeypatch, state=ANGLER, shown=SHOWN)
    told = told_propensities(found, drafts)
    explored = [sum(pick.is_explored for pick in draft.picks) for draft in drafts]
    assert np.mean(explored) == pytest.approx(0.3 * 8, abs=0.05)
    assert any(propensity < 1 for propensity in told.values())
    if method == "thompson":
        tried = {live.catalogue.id_at(pick.row) for draft in drafts for pick in draft.picks if pick.is_explored}
        assert not tried & SHOWN.keys(), "what was shown often is not uncertain"


def test_what_a_promotion_waits_for_takes_no_turns(live, monkeypatch):
    pool = draft_of(live, HOME, state=ANGLER).pool
    assert pool is not None
    promoted = [live.catalogue.id_at(row) for row in pool.rows_C[[11, 14]].tolist()]
    promotion = Promotion({"field": "item_id", "in": promoted}, 0.2)
    scenario = replace(HOME, rotation=Rotation(0.3, 60), page_promotions=(promotion,))
    told = told_propensities(*frequencies(live, scenario, monkeypatch, state=ANGLER))
    assert {told[where] for where in told if live.catalogue.id_at(where[1]) in promoted} == {1.0}


def told_propensities(found: dict[tuple[int, int], float], drafts: list[Draft]) -> dict[tuple[int, int], float]:
    """(position, row) -> recorded propensity, compared with how often the item stands there."""
    told: dict[tuple[int, int], set[float]] = defaultdict(set)
    for draft in drafts:
        for place, pick in enumerate(draft.picks):
            told[place, pick.row].add(round(pick.propensity, 9))
    for where, propensities in told.items():
        assert len(propensities) == 1, "the same wherever it is drawn"
        [propensity] = propensities
        assert found[where] == pytest.approx(
            propensity, abs=4.5 * (propensity * (1 - propensity) / NUM_DRAWS) ** 0.5 + 1e-9
        )
    return {where: propensity for where, [propensity] in told.items()}


def test_strangers_do_not_all_try_the_same_and_others_hold_still(live):
    scenario = replace(HOME, exploration=0.5, exploration_method="epsilon")
    assert len({tuple(ids_of(draft_of(live, scenario))) for _ in range(8)}) > 1
    anna = SlateRequest("home", user_id="anna")
    assert ids_of(draft_of(live, scenario, anna)) == ids_of(draft_of(live, scenario, anna))
    assert (
        len({tuple(ids_of(draft_of(live, scenario, SlateRequest("home", session_id=f"s{n}")))) for n in range(8)}) > 1
    )


async def test_a_slate_is_recorded_with_its_propensities_and_marks(serving: Process) -> None:
    await serving.scenarios.put(replace(BY_TASTE, exploration=0.4, exploration_method="epsilon"))
    slate = await serving.recommender.recommend(SlateRequest("by_taste", seed=3))
    again = await serving.recommender.recommend(SlateRequest("by_taste", seed=3))
    assert [item.item_id for item in slate.items] == [item.item_id for item in again.items]
    assert sum(item.explored for item in slate.items) == 4
    [shown, _] = serving.impressions
    assert shown.propensities == tuple(item.propensity for item in slate.items)
    assert all(
        p == pytest.approx(0.6) for item, p in zip(slate.items, shown.propensities, strict=True) if not item.explored
    )


async def test_taking_a_dislike_back_restores_the_slate(open_shop: Shop, redis_url: str) -> None:
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

        async def slate() -> list[str]:
            return [item.item_id for item in (await process.recommender.recommend(request)).items]

        for item_id in ("fish-rod-1", "fish-reel-1"):
            await intake.submit([Event(f"c-{item_id}", "click", item_id, NOW - timedelta(hours=1), session_id="guest")])
        before = await slate()
        await intake.submit([Event("d1", "dislike", before[0], NOW, session_id="guest")])
        after = await slate()
        assert before[0] not in after
        assert after != [item_id for item_id in before if item_id != before[0]][: len(after)]
        assert await intake.retract("d1")
        assert await slate() == before
    await intake.close()
    await live_state.close()
