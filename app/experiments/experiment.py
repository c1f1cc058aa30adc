"""What an A/B test is: one scenario, and what of it is different for a share of the shoppers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from app.scenarios.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Variant:
    """share: of the shoppers, above 0. overrides: fields of `Scenario` and what stands in their place; none: a control."""

    name: str
    share: float
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def of(self, scenario: Scenario) -> Scenario:
        return replace(scenario, **self.overrides)


@dataclass(frozen=True, slots=True)
class Experiment:
    """Shoppers beyond the shares of all variants see the scenario as it is, and count for none."""

    name: str
    scenario: str
    variants: tuple[Variant, ...]


class ExperimentStore(Protocol):
    """Moves the `scenarios` revision, because experiments are followed with the scenarios."""

    async def put(self, experiment: Experiment) -> None:
        """Raises Conflict("scenario_in_experiment")."""

    async def delete(self, name: str) -> bool: ...

    async def all(self) -> list[Experiment]: ...
