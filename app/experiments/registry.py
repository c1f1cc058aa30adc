"""The experiments as this process knows them."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

from app.errors import Conflict, Invalid, NotFound
from app.experiments.assignment import assigned
from app.experiments.experiment import Experiment, ExperimentStore, Variant
from app.scenarios.registry import ScenarioRegistry


class ExperimentRegistry:
    """Reads answer from memory, so they hold while the store is gone; the follower calls `refresh` when it moved."""

    def __init__(self, store: ExperimentStore, scenarios: ScenarioRegistry) -> None:
        self._store = store
        self._scenarios = scenarios
        self._hold(())

    def get(self, name: str) -> Experiment:
        """Raises NotFound("experiment_not_found")."""
        try:
            return self._by_name[name]
        except KeyError:
            raise NotFound(f"there is no experiment {name[:100]!r}", code="experiment_not_found") from None

    def all(self) -> list[Experiment]:
        """By name."""
        return [self._by_name[name] for name in sorted(self._by_name)]

    def variant_for(self, scenario: str, user_id: str | None, session_id: str | None) -> Variant | None:
        """What this shopper sees of the scenario; None: the scenario as it is."""
        experiment = self._by_scenario.get(scenario)
        return None if experiment is None else assigned(experiment, user_id, session_id)

    async def put(self, experiment: Experiment) -> None:
        """Raises Invalid for an unknown scenario and for overrides that could never work, Conflict("scenario_in_experiment"), Unavailable
        when the store is gone."""
        self._check(experiment)
        other = self._by_scenario.get(experiment.scenario)
        if other is not None and other.name != experiment.name:
            raise Conflict(
                f"scenario {experiment.scenario!r} is in experiment {other.name!r}: delete that one first",
                code="scenario_in_experiment",
            )
        await self._store.put(experiment)
        self._hold([*(held for held in self.all() if held.name != experiment.name), experiment])

    async def delete(self, name: str) -> bool:
        """Everybody sees the scenario as it is again. False if there is none of that name."""
        is_gone = await self._store.delete(name)
        self._hold([held for held in self.all() if held.name != name])
        return is_gone

    async def refresh(self) -> None:
        self._hold(await self._store.all())

    def _hold(self, experiments: Iterable[Experiment]) -> None:
        by_name = {experiment.name: experiment for experiment in experiments}
        self._by_name = MappingProxyType(by_name)
        self._by_scenario = MappingProxyType({held.scenario: held for held in by_name.values()})

    def _check(self, experiment: Experiment) -> None:
        try:
            scenario = self._scenarios.get(experiment.scenario)
        except NotFound as error:
            raise Invalid(error.detail, code="unknown_scenario", loc=("scenario",)) from None
        for i, variant in enumerate(experiment.variants):
            try:
                self._scenarios.check(variant.of(scenario))
            except Invalid as error:
                raise Invalid(error.detail, code=error.code, loc=("variants", i, "overrides", *error.loc)) from error
