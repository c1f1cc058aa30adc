"""A/B tests as admins write and see them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from app.api.schemas.fields import Body, Id, View, listing_of
from app.api.schemas.scenarios import ScenarioSettings, ScenarioView
from app.experiments.experiment import Experiment, Variant
from app.scenarios.scenario import Scenario

MAX_VARIANTS = 20
ROUNDING = 1e-9  # thirds do not add up to 1

DIVERSE: dict[str, Any] = {
    "scenario": "home",
    "variants": [
        {"name": "as it is", "share": 0.5, "overrides": {}},
        {"name": "more different", "share": 0.5, "overrides": {"diversity": 0.4, "n": 12}},
    ],
}


class VariantBody(Body):
    name: Id
    share: Annotated[float, Field(gt=0, le=1)] = Field(description="Of the shoppers")
    overrides: ScenarioSettings = Field(
        ScenarioSettings(),
        description="Settings of the scenario that take the place of its own, each as a whole; what is not given stays as the scenario has it, "
        "also when that changes later. None: a control",
    )

    def to_variant(self, sources: Collection[str]) -> Variant:
        given = self.overrides.model_fields_set
        settings = self.overrides.settings(self.overrides.sources if "sources" in given else sources)
        return Variant(self.name, self.share, {field: value for field, value in settings.items() if field in given})


class ExperimentPut(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [DIVERSE]})

    name: Id | None = Field(None, description="May be repeated here; it must be the one in the path")
    scenario: Id
    variants: Annotated[list[VariantBody], Field(min_length=1, max_length=MAX_VARIANTS)] = Field(
        description="Their shares are 1 together at most; the other shoppers see the scenario as it is, with `variant` null"
    )

    @model_validator(mode="after")
    def check_variants(self) -> ExperimentPut:
        names = [variant.name for variant in self.variants]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise PydanticCustomError("repeated_variant", "two variants are called {name}", {"name": repr(twice[:60])})
        total = sum(variant.share for variant in self.variants)
        if total > 1 + ROUNDING:
            raise PydanticCustomError(
                "too_many_shares", "the shares are {total} together; 1 is everybody", {"total": round(total, 6)}
            )
        return self

    def to_experiment(self, name: str, sources: Collection[str]) -> Experiment:
        """sources: of the scenario, because what `exclude` leaves open depends on them."""
        return Experiment(name, self.scenario, tuple(variant.to_variant(sources) for variant in self.variants))


class VariantView(View):
    name: str
    share: float
    overrides: dict[str, Any]

    @classmethod
    def of(cls, variant: Variant) -> VariantView:
        shown = ScenarioView.model_validate(variant.of(Scenario("", "")))
        overrides = shown.model_dump(mode="json", by_alias=True, include=set(variant.overrides))
        return cls(name=variant.name, share=variant.share, overrides=overrides)


class ExperimentView(View):
    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "diverse home", **DIVERSE}]})

    name: str
    scenario: str
    variants: list[VariantView]

    @classmethod
    def of(cls, experiment: Experiment) -> ExperimentView:
        variants = [VariantView.of(variant) for variant in experiment.variants]
        return cls(name=experiment.name, scenario=experiment.scenario, variants=variants)


class ExperimentList(View):
    model_config = listing_of("experiments", ExperimentView)

    experiments: list[ExperimentView]
    next_cursor: str | None
