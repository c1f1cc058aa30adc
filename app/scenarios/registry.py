"""The scenarios as this process knows them: the ready-made ones, overridden by what the store holds."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

from app.errors import Invalid, NotFound
from app.retrieval.filters import parse_filter
from app.scenarios.defaults import READY_MADE
from app.scenarios.scenario import Scenario, ScenarioStore


class ScenarioRegistry:
    """Reads answer from memory, so they hold while the store is gone; the follower calls `refresh` when it moved."""

    def __init__(self, store: ScenarioStore, source_names: Iterable[str]) -> None:
        self._store = store
        self._source_names = tuple(source_names)
        self._scenarios = MappingProxyType(dict(READY_MADE))

    def get(self, name: str) -> Scenario:
        """Raises NotFound("scenario_not_found")."""
        try:
            return self._scenarios[name]
        except KeyError:
            raise NotFound(f"there is no scenario {name!r}", code="scenario_not_found") from None

    def all(self) -> list[Scenario]:
        """By name."""
        return [self._scenarios[name] for name in sorted(self._scenarios)]

    async def put(self, scenario: Scenario) -> None:
        """Raises Invalid for a filter, source or fallback that could never work, Unavailable when the store is gone."""
        self.check(scenario)
        await self._store.put(scenario)
        self._replace(scenario.name, scenario)

    async def delete(self, name: str) -> bool:
        """A ready-made scenario goes back to its default, another one is gone. False if there is none of that name."""
        if name not in self._scenarios:
            return False
        await self._store.delete(name)
        self._replace(name, READY_MADE.get(name))
        return True

    async def refresh(self) -> None:
        stored = {scenario.name: scenario for scenario in await self._store.all()}
        self._scenarios = MappingProxyType({**READY_MADE, **stored})

    def _replace(self, name: str, scenario: Scenario | None) -> None:
        others = {other: kept for other, kept in self._scenarios.items() if other != name}
        self._scenarios = MappingProxyType(others if scenario is None else {**others, name: scenario})

    def check(self, scenario: Scenario) -> None:
        """Raises Invalid for a filter, source or fallback that could never work."""
        if scenario.filter is not None:
            parse_filter(scenario.filter)
        for field in ("boosts", "page_promotions"):
            for i, row in enumerate(getattr(scenario, field)):
                parse_filter(row.filter, (field, i, "filter"))
        for name in scenario.sources:
            if name not in self._source_names:
                raise Invalid(
                    f"no source {name!r}; sources are {', '.join(self._source_names)}",
                    code="unknown_source",
                    loc=("sources", name),
                )
        for i, name in enumerate(scenario.fallback):
            if name == scenario.name or not (name in self._source_names or name in self._scenarios):
                raise Invalid(
                    f"a fallback is a source ({', '.join(self._source_names)}) or another scenario, not {name!r}",
                    code="unknown_fallback",
                    loc=("fallback", i),
                )
