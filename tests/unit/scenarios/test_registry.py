import pytest

from app.errors import Invalid, NotFound
from app.retrieval.filters import parse_filter
from app.scenarios.defaults import READY_MADE
from app.scenarios.registry import ScenarioRegistry
from app.scenarios.scenario import Boost, Promotion, Scenario

SOURCES = ("two_tower", "item_cf", "popular", "new")


class Rows:
    """A scenario store without a database: what `ScenarioStore` promises, nothing more."""

    def __init__(self) -> None:
        self.rows: dict[str, Scenario] = {}

    async def put(self, scenario: Scenario) -> None:
        self.rows[scenario.name] = scenario

    async def delete(self, name: str) -> bool:
        return self.rows.pop(name, None) is not None

    async def all(self) -> list[Scenario]:
        return list(self.rows.values())


def test_the_nine_ready_made_ones_are_there_and_say_different_things():
    assert set(READY_MADE) == {
        "home", "similar", "complements", "cart", "search", "category", "promotion", "new_arrivals", "email",
    }  # fmt: skip
    assert len({scenario.description for scenario in READY_MADE.values()}) == 9
    assert all(scenario.filter is None or parse_filter(scenario.filter) for scenario in READY_MADE.values())


def test_purchases_stay_away_for_30_days_except_in_email():
    days = {name: scenario.exclude.purchased_days for name, scenario in READY_MADE.items()}
    assert days.pop("email") == 0
    assert set(days.values()) == {30}


async def test_put_overrides_and_delete_resets_a_ready_made_one():
    registry = ScenarioRegistry(Rows(), SOURCES)
    await registry.put(Scenario("home", "Another home page.", n=7))
    assert registry.get("home").n == 7
    assert await registry.delete("home")
    assert registry.get("home") == READY_MADE["home"]


async def test_an_own_one_is_gone_after_delete():
    registry = ScenarioRegistry(Rows(), SOURCES)
    await registry.put(Scenario("gift/finder", "Gifts."))
    assert "gift/finder" in [scenario.name for scenario in registry.all()]
    assert await registry.delete("gift/finder")
    with pytest.raises(NotFound, match="gift/finder") as error:
        registry.get("gift/finder")
    assert error.value.code == "scenario_not_found"
    assert not await registry.delete("gift/finder")


async def test_refresh_brings_what_another_process_put():
    rows = Rows()
    here, there = ScenarioRegistry(rows, SOURCES), ScenarioRegistry(rows, SOURCES)
    await there.put(Scenario("deal", "Deals."))
    with pytest.raises(NotFound):
        here.get("deal")
    await here.refresh()
    assert here.get("deal").description == "Deals."
    await there.delete("deal")
    await here.refresh()
    assert "deal" not in [scenario.name for scenario in here.all()]


@pytest.mark.parametrize(
    ("scenario", "code", "loc"),
    [
        (Scenario("x", "", {"two_towers": 1.0}), "unknown_source", ("sources", "two_towers")),
        (Scenario("x", "", fallback=("popular", "nowhere")), "unknown_fallback", ("fallback", 1)),
        (Scenario("x", "", fallback=("x",)), "unknown_fallback", ("fallback", 0)),
        (Scenario("x", "", filter={"field": "prize", "lt": 5}), "filter_unknown_field", ("filter", "field")),
        (
            Scenario(
                "x", "", boosts=(Boost({"field": "price", "lt": 5}, 2.0), Boost({"field": "prize", "lt": 5}, 2.0))
            ),
            "filter_unknown_field",
            ("boosts", 1, "filter", "field"),
        ),
        (
            Scenario("x", "", page_promotions=(Promotion({"field": "price", "near": 5}, 0.5),)),
            "filter_unknown_operator",
            ("page_promotions", 0, "filter", "near"),
        ),
    ],
)
async def test_what_could_never_work_is_refused_and_not_stored(scenario, code, loc):
    rows = Rows()
    with pytest.raises(Invalid) as error:
        await ScenarioRegistry(rows, SOURCES).put(scenario)
    assert (error.value.code, error.value.loc) == (code, loc)
    assert rows.rows == {}
