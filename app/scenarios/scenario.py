"""What a scenario is: a placement with a purpose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from app.types import Json

Weight = float | Literal["learned"]


@dataclass(frozen=True, slots=True)
class Exclusions:
    purchased_days: float = 30.0  # 0: purchased items may come back at once
    context_items: bool = True


@dataclass(frozen=True, slots=True)
class Scenario:
    """sources: candidate source -> weight, or "learned" (fitted on validation in the last retraining run).

    fallback: source names, or names of other scenarios, tried in order until the slate is full.
    """

    name: str
    description: str
    sources: Mapping[str, Weight] = field(default_factory=dict)
    filter: Mapping[str, Json] | None = None
    exclude: Exclusions = Exclusions()
    n: int = 20
    fallback: tuple[str, ...] = ("popular", "new")


class ScenarioStore(Protocol):
    """Holds what was put; the ready-made ones come from `defaults` unless overridden. Moves the `scenarios` revision."""

    async def put(self, scenario: Scenario) -> None: ...

    async def delete(self, name: str) -> bool: ...

    async def all(self) -> list[Scenario]: ...


@dataclass(frozen=True, slots=True)
class Revisions:
    """Counters that every process follows. One moves when its table changed, in commit order."""

    catalogue: int = 0
    scenarios: int = 0
    models: int = 0
    keys: int = 0


class RevisionStore(Protocol):
    async def read(self) -> Revisions: ...
