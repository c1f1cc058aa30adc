"""A/B tests on slates: shoppers see their variant, everywhere the same, and what was shown tells which."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.errors import Conflict, Invalid, NotFound
from app.experiments.experiment import Experiment, Variant
from app.scenarios.scenario import Boost, Objective, Pin, Rotation, Scenario
from app.serving.slate import Slate, SlateRequest
from app.stores.postgres.experiments import PostgresExperiments
from tests.integration.serving.conftest import NOW, Process, Shop

FEW, NONE = {"n": 3}, {"filter": {"field": "price", "gt": 1e6}}
SHOPPERS = [f"u{n}" for n in range(12)]


def ids(slate: Slate) -> list[str]:
    return [item.item_id for item in slate.items]


def in_halves(scenario: str = "home", name: str = "test", **overrides: object) -> Experiment:
    return Experiment(name, scenario, (Variant("control", 0.5), Variant("tried", 0.5, overrides)))


async def test_each_shopper_sees_one_variant_and_what_was_shown_tells_which(serving: Process) -> None:
    await serving.experiments.put(in_halves(n=3))
    slates = {user: await serving.recommender.recommend(SlateRequest("home", user_id=user)) for user in SHOPPERS}
    assert {slate.variant for slate in slates.values()} == {"control", "tried"}
    for user, slate in slates.items():
        assert len(slate.items) == (3 if slate.variant == "tried" else 20)
        again = await serving.recommender.recommend(SlateRequest("home", user_id=user, session_id="other device"))
        assert again.variant == slate.variant
    recorded = {one.recommendation_id: one.variant for one in serving.impressions}
    assert all(recorded[slate.recommendation_id] == slate.variant for slate in slates.values())


async def test_strangers_and_other_scenarios_are_in_no_test(serving: Process) -> None:
    await serving.experiments.put(in_halves(n=3))
    for request in (SlateRequest("home"), SlateRequest("by_taste", user_id="u1")):
        slate = await serving.recommender.recommend(request)
        assert slate.variant is None
        assert len(slate.items) > 3


async def test_an_override_is_the_scenarios_setting_and_the_others_stay_its_own(serving: Process) -> None:
    await serving.scenarios.put(Scenario("shelf", "Something to look at.", {"popular": 1.0}, n=4))
    pinned = Variant("pinned", 1.0, {"pins": (Pin(2, "cook-pan-3"),)})
    await serving.experiments.put(Experiment("pins", "shelf", (pinned,)))
    slate = await serving.recommender.recommend(SlateRequest("shelf", user_id="anna", diagnostics=True))
    assert (ids(slate)[1], len(slate.items)) == ("cook-pan-3", 4)
    plain = await serving.recommender.recommend(SlateRequest("shelf", diagnostics=True))
    assert plain.diagnostics
    assert slate.diagnostics
    assert slate.diagnostics.versions.scenario != plain.diagnostics.versions.scenario
    await serving.scenarios.put(Scenario("shelf", "Something to look at.", {"popular": 1.0}, n=6))
    assert len((await serving.recommender.recommend(SlateRequest("shelf", user_id="anna"))).items) == 6


async def test_the_list_behind_a_slate_and_its_repetition_are_of_the_same_variant(serving: Process) -> None:
    await serving.experiments.put(
        Experiment("cheap", "home", (Variant("cheap", 1.0, {"filter": {"field": "price", "lt": 15}, "n": 2}),))
    )
    first = await serving.recommender.recommend(SlateRequest("home", user_id="anna", fields=("price",)))
    assert first.next_cursor is not None
    for _ in range(2):  # made, then shown again
        second, _ = await serving.recommender.recommend_next(first.next_cursor)
        assert (second.variant, len(second.items)) == ("cheap", 2)
        assert all(float(item.fields["price"]) < 15 for item in second.items)  # type: ignore[arg-type]


async def test_slates_of_a_page_are_each_in_their_own_test(serving: Process) -> None:
    await serving.experiments.put(Experiment("one", "home", (Variant("few", 1.0, FEW),)))
    await serving.experiments.put(Experiment("two", "by_taste", (Variant("none", 1.0, NONE),)))
    home, taste = await serving.recommender.recommend_page(
        [SlateRequest(name, user_id="anna") for name in ("home", "by_taste")]
    )
    assert (home.variant, len(home.items)) == ("few", 3)
    assert (taste.variant, taste.items) == ("none", ())


async def test_another_process_follows_and_goes_back_when_it_ends(open_shop: Shop) -> None:
    async with open_shop.process() as here, open_shop.process() as there:
        await here.experiments.put(in_halves(n=3))
        await there.follower.follow_once()
        for user in SHOPPERS:
            one, other = [await of.recommender.recommend(SlateRequest("home", user_id=user)) for of in (here, there)]
            assert (one.variant, ids(one)) == (other.variant, ids(other))
        assert await there.experiments.delete("test")
        await here.follower.follow_once()
        assert (await here.recommender.recommend(SlateRequest("home", user_id="u1"))).variant is None


async def test_a_scenario_that_went_away_leaves_its_test_behind(serving: Process) -> None:
    await serving.scenarios.put(Scenario("shelf", "Something to look at."))
    await serving.experiments.put(in_halves("shelf", n=3))
    await serving.scenarios.delete("shelf")
    with pytest.raises(NotFound):
        await serving.recommender.recommend(SlateRequest("shelf", user_id="anna"))
    assert serving.experiments.get("test").scenario == "shelf"


async def test_a_scenario_is_in_one_test_at_a_time_also_when_two_begin_at_once(open_shop: Shop) -> None:
    async with open_shop.process() as here, open_shop.process(start=False) as late:
        await here.experiments.put(in_halves())
        for process in (here, late):  # the second one has not heard of it
            with pytest.raises(Conflict, match=r"in .*experiment") as error:
                await process.experiments.put(in_halves(name="second"))
            assert error.value.code == "scenario_in_experiment"
        await here.experiments.put(in_halves(n=5))
        assert await here.experiments.delete("test")
        await late.experiments.put(in_halves(name="second"))


@pytest.mark.parametrize(
    ("overrides", "loc"),
    [
        ({"filter": {"field": "weather", "eq": "wet"}}, ("variants", 1, "overrides", "filter", "field")),
        ({"sources": {"wishes": 1.0}}, ("variants", 1, "overrides", "sources", "wishes")),
        ({"fallback": ("home",)}, ("variants", 1, "overrides", "fallback", 0)),
        ({"boosts": (Boost({"field": "weather", "eq": 1}, 2.0),)}, ("variants", 1, "overrides", "boosts", 0, "filter", "field")),
    ],
)  # fmt: skip
async def test_what_could_never_work_is_refused_and_changes_nothing(
    serving: Process, overrides: dict[str, object], loc: tuple[str | int, ...]
) -> None:
    with pytest.raises(Invalid) as error:
        await serving.experiments.put(in_halves(**overrides))
    assert error.value.loc == loc
    assert serving.experiments.all() == []
    with pytest.raises(Invalid, match="no-such") as unknown:
        await serving.experiments.put(in_halves("no-such"))
    assert (unknown.value.code, unknown.value.loc) == ("unknown_scenario", ("scenario",))


async def test_every_kind_of_setting_comes_back_from_the_store_as_it_went_in(open_shop: Shop) -> None:
    store = PostgresExperiments(open_shop.engine)
    overrides = {
        "sources": {"popular": 1.0, "two_tower": "learned"}, "filter": None, "objective": Objective(0.0, purchase=2.0),
        "rotation": Rotation(0.2, 60.0), "pins": (Pin(1, "fish-rod-0", NOW, None),), "fallback": ("new",), "diversity": 0.3,
        "boosts": (Boost({"field": "brand", "eq": "x"}, 2.0),),
    }  # fmt: skip
    given = in_halves(**overrides)
    await store.put(given)
    assert await store.all() == [given]
    assert given.variants[1].of(Scenario("a", "b")) == replace(Scenario("a", "b"), **overrides)  # type: ignore[arg-type]
