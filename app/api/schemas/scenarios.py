"""Scenarios as admins write and see them."""

from __future__ import annotations

from typing import Annotated, Any, cast

from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from app.api.schemas.fields import Body, Id, JsonObject, View, check_text, listing_of
from app.api.schemas.recommendations import SlateSize
from app.retrieval.sources import SOURCE_NAMES
from app.scenarios.defaults import LEARNED
from app.scenarios.scenario import Exclusions, Scenario, Weight

GIFTS: dict[str, Any] = {
    "description": "Gift guide: presents for someone who does not know yet what to give.",
    "sources": {"two_tower": 0.7, "item_cf": 0.2, "popular": 0.1},
    "filter": {"field": "price", "lte": 50},
    "exclude": {"purchased_days": 30, "context_items": True},
    "n": 12,
    "fallback": ["popular", "new"],
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
    purchased_days: Annotated[float, Field(ge=0, le=3_650)] = Field(
        30, description="0: they may come back at once; so by default where `repeat` is a source"
    )
    context_items: bool = True


class ScenarioPut(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [GIFTS]})

    name: Id | None = Field(None, description="May be repeated here; it must be the one in the path")
    description: Description = Field(
        description="What the placement is for; it initialises the scenario's parameters where there is no data"
    )
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

    def to_scenario(self, name: str) -> Scenario:
        return Scenario(
            name=name,
            description=self.description,
            sources=self.sources,
            filter=self.filter,
            exclude=Exclusions(self._purchased_days(), self.exclude.context_items),
            n=self.n,
            fallback=tuple(self.fallback),
        )

    def _purchased_days(self) -> float:
        """As given; not given, purchases may come back where `repeat` is asked to bring them."""
        if "repeat" in self.sources and "purchased_days" not in self.exclude.model_fields_set:
            return 0.0
        return self.exclude.purchased_days


class ExcludeView(View):
    purchased_days: float
    context_items: bool


class ScenarioView(View):
    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "gifts", **GIFTS}]})

    name: str
    description: str
    sources: dict[str, SourceWeight]
    filter: dict[str, Any] | None
    exclude: ExcludeView
    n: int
    fallback: tuple[str, ...]


class ScenarioList(View):
    model_config = listing_of("scenarios", ScenarioView)

    scenarios: list[ScenarioView]
    next_cursor: str | None
