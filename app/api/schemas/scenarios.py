"""Scenarios as admins write and see them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from app.api.schemas.fields import Body, Id, JsonObject, Time, View, check_text, listing_of
from app.api.schemas.recommendations import MAX_SLATE, BoostBody, Share, SlateSize
from app.retrieval.sources import SOURCE_NAMES
from app.scenarios.defaults import LEARNED
from app.scenarios.scenario import (
    MAX_PURCHASED_DAYS,
    Caps,
    Exclusions,
    Objective,
    Pin,
    Promotion,
    Rotation,
    Scenario,
    Weight,
)

GIFTS: dict[str, Any] = {
    "description": "Gift guide: presents for someone who does not know yet what to give.",
    "sources": {"two_tower": 0.7, "item_cf": 0.2, "popular": 0.1},
    "filter": {"field": "price", "lte": 50},
    "exclude": {"purchased_days": 30, "seen_impressions": 5, "context_items": True},
    "n": 12,
    "fallback": ["popular", "new"],
    "objective": {"click": 1, "cart_add": 0, "purchase": 5, "value": 0},
    "boosts": [{"filter": {"field": "tags", "contains": "gift"}, "factor": 1.5}],
    "pins": [{"position": 1, "item_id": "sku-1", "from": "2026-12-01T00:00:00Z", "until": "2026-12-24T00:00:00Z"}],
    "page_promotions": [{"filter": {"field": "brand", "eq": "Nordlicht"}, "share": 0.25}],
    "diversity": 0.3,
    "calibration": 0.2,
    "caps": {"category": 8, "brand": 3},
    "exploration": 0.1,
    "exploration_method": "thompson",
    "rotation": {"rate": 0.2, "minutes": 60},
    "freshness_half_life_days": 90,
}

Description = Annotated[str, Field(min_length=1, max_length=2_000), AfterValidator(check_text)]
MAX_WEIGHT = 1_000


def check_weight(value: Any) -> Weight:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if value != "learned" and not (is_number and 0 <= value <= MAX_WEIGHT):
        raise PydanticCustomError("bad_weight", 'a weight is a number from 0 to 1000, or "learned"')
    return cast(Weight, value)


SourceWeight = Annotated[
    Any,
    AfterValidator(check_weight),
    WithJsonSchema({"anyOf": [{"const": "learned"}, {"type": "number", "minimum": 0, "maximum": MAX_WEIGHT}]}),
]


class ExcludeBody(Body):
    purchased_days: Annotated[float, Field(ge=0, le=MAX_PURCHASED_DAYS)] = Field(
        30, description="0: they may come back at once; so by default where `repeat` is a source"
    )
    seen_impressions: Annotated[float, Field(ge=0, le=1_000)] = Field(
        0, description="An item shown this often without a click stays away; old impressions fade. 0: never"
    )
    context_items: bool = True


MAX_RULES = 100
Factor = Annotated[float, Field(ge=0, le=MAX_WEIGHT)]


class ObjectiveBody(Body):
    """Weights of a click, a cart addition, a purchase and the expected revenue of a slot; at least one above 0."""

    click: Factor = 0.0
    cart_add: Factor = 0.0
    purchase: Factor = 0.0
    value: Factor = 0.0

    @model_validator(mode="after")
    def check_any(self) -> ObjectiveBody:
        if not (self.click or self.cart_add or self.purchase or self.value):
            raise PydanticCustomError("empty_objective", "one of the weights must be above 0")
        return self


class PinBody(Body):
    position: SlateSize = Field(description="From 1")
    item_id: Id
    from_at: Time | None = Field(None, alias="from")
    until_at: Time | None = Field(None, alias="until")

    @model_validator(mode="after")
    def check_order(self) -> PinBody:
        if self.from_at and self.until_at and self.until_at <= self.from_at:
            raise PydanticCustomError("empty_period", "`until` must be later than `from`")
        return self


class PromotionBody(Body):
    filter: JsonObject
    share: Share = Field(description="Of the slots, as far as items match")


class RotationBody(Body):
    rate: Share = Field(description="Share of the slots that changes")
    minutes: Annotated[float, Field(gt=0, le=60 * 24 * 30)]


class CapsBody(Body):
    category: Annotated[int, Field(ge=1, le=MAX_SLATE)] | None = None
    brand: Annotated[int, Field(ge=1, le=MAX_SLATE)] | None = None


class ScenarioSettings(Body):
    """All of a scenario but its name and what it is for."""

    sources: Annotated[dict[str, SourceWeight], Field(min_length=1, max_length=100)] = Field(
        dict(LEARNED),
        description=f"Candidate source: weight, or learned. Sources: {', '.join(SOURCE_NAMES)}. "
        "`repeat` brings the user's own past items, so a scenario that names it keeps purchases away for 0 days by default",
    )
    filter: JsonObject | None = None
    exclude: ExcludeBody = ExcludeBody()
    n: SlateSize = Field(20, description="Slate size where the request gives none")
    fallback: Annotated[list[Id], Field(max_length=20)] = Field(
        ["popular", "new"], description="Sources or other scenarios, tried in order until the slate is full"
    )
    objective: ObjectiveBody | None = Field(None, description="What a slot is worth; none: the learned order")
    boosts: Annotated[list[BoostBody], Field(max_length=MAX_RULES)] = Field([])
    pins: Annotated[list[PinBody], Field(max_length=MAX_RULES)] = Field(
        [], description="Items at places; never against a filter, an exclusion, availability or expiry"
    )
    page_promotions: Annotated[list[PromotionBody], Field(max_length=MAX_RULES)] = Field([])
    diversity: Share = Field(0, description="0: relevance alone, 1: difference alone")
    calibration: Share = Field(0, description="How far the slate follows the shopper's own mix of categories")
    caps: CapsBody = CapsBody()
    exploration: Share = Field(0, description="Share of the slots for items of uncertain worth, marked `explored`")
    exploration_method: Literal["thompson", "epsilon"] = "thompson"
    rotation: RotationBody | None = None
    freshness_half_life_days: Annotated[float, Field(gt=0, le=36_500)] | None = Field(
        None, description="Scores halve with this age of an item"
    )

    def settings(self, sources: Collection[str] | None = None) -> dict[str, Any]:
        """As fields of `Scenario`. sources: those they go with; None: their own."""
        return {
            "sources": self.sources,
            "filter": self.filter,
            "exclude": Exclusions(
                self._purchased_days(self.sources if sources is None else sources),
                self.exclude.seen_impressions,
                self.exclude.context_items,
            ),
            "n": self.n,
            "fallback": tuple(self.fallback),
            "objective": Objective(**self.objective.model_dump()) if self.objective else None,
            "boosts": tuple(boost.to_boost() for boost in self.boosts),
            "pins": tuple(Pin(**pin.model_dump()) for pin in self.pins),
            "page_promotions": tuple(Promotion(**promotion.model_dump()) for promotion in self.page_promotions),
            "diversity": self.diversity,
            "calibration": self.calibration,
            "caps": Caps(**self.caps.model_dump()),
            "exploration": self.exploration,
            "exploration_method": self.exploration_method,
            "rotation": Rotation(**self.rotation.model_dump()) if self.rotation else None,
            "freshness_half_life_days": self.freshness_half_life_days,
        }

    def _purchased_days(self, sources: Collection[str]) -> float:
        """As given; not given, purchases may come back where `repeat` is asked to bring them."""
        if "repeat" in sources and "purchased_days" not in self.exclude.model_fields_set:
            return 0.0
        return self.exclude.purchased_days


class ScenarioPut(ScenarioSettings):
    model_config = ConfigDict(json_schema_extra={"examples": [GIFTS]})

    name: Id | None = Field(None, description="May be repeated here; it must be the one in the path")
    description: Description = Field(
        description="What the placement is for; it initialises the scenario's parameters where there is no data"
    )

    def to_scenario(self, name: str) -> Scenario:
        return Scenario(name, self.description, **self.settings())


class ExcludeView(View):
    purchased_days: float
    seen_impressions: float
    context_items: bool


class ObjectiveView(View):
    click: float
    cart_add: float
    purchase: float
    value: float


class BoostView(View):
    filter: dict[str, Any]
    factor: float


class PinView(View):
    model_config = ConfigDict(populate_by_name=True)

    position: int
    item_id: str
    from_at: datetime | None = Field(serialization_alias="from")
    until_at: datetime | None = Field(serialization_alias="until")


class PromotionView(View):
    filter: dict[str, Any]
    share: float


class RotationView(View):
    rate: float
    minutes: float


class CapsView(View):
    category: int | None
    brand: int | None


class ScenarioView(View):
    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "gifts", **GIFTS}]})

    name: str
    description: str
    sources: dict[str, SourceWeight]
    filter: dict[str, Any] | None
    exclude: ExcludeView
    n: int
    fallback: tuple[str, ...]
    objective: ObjectiveView | None
    boosts: list[BoostView]
    pins: list[PinView]
    page_promotions: list[PromotionView]
    diversity: float
    calibration: float
    caps: CapsView
    exploration: float
    exploration_method: str
    rotation: RotationView | None
    freshness_half_life_days: float | None


class ScenarioList(View):
    model_config = listing_of("scenarios", ScenarioView)

    scenarios: list[ScenarioView]
    next_cursor: str | None
