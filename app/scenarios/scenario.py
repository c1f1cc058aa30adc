"""What a scenario is: a placement with a purpose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from app.types import Json

Weight = float | Literal["learned"]
MAX_PURCHASED_DAYS = 3_650  # as far back as the live state knows purchases


@dataclass(frozen=True, slots=True)
class Exclusions:
    purchased_days: float = 30.0  # 0: purchased items may come back at once
    seen_impressions: float = 0.0  # decayed impressions without a click after which an item stays away; 0: never
    context_items: bool = True


@dataclass(frozen=True, slots=True)
class Boost:
    """A soft preference: scores of matching items are multiplied."""

    filter: Mapping[str, Json]
    factor: float  # 0.1-10


@dataclass(frozen=True, slots=True)
class Pin:
    """An item at a place, 1-based, between two moments (None: open)."""

    position: int
    item_id: str
    from_at: datetime | None = None
    until_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Promotion:
    """At least this share of the slots goes to matching items, as far as there are any."""

    filter: Mapping[str, Json]
    share: float  # 0-1


@dataclass(frozen=True, slots=True)
class Rotation:
    """A share of the slots changes every so many minutes, alike for one shopper inside them."""

    rate: float  # 0-1
    minutes: float


@dataclass(frozen=True, slots=True)
class Objective:
    """What one slot is worth: weights of the chances of a click, a cart addition, a purchase, and of the expected revenue."""

    click: float = 1.0
    cart_add: float = 0.0
    purchase: float = 0.0
    value: float = 0.0


@dataclass(frozen=True, slots=True)
class Caps:
    """Most items of one category (whole path) or brand in a slate; None: no cap. A cap yields before a slate would fall short."""

    category: int | None = None
    brand: int | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """sources: candidate source -> weight, or "learned" (fitted on validation in the last retraining run).

    fallback: source names, or names of other scenarios, tried in order until the slate is full. objective None: the order that the
    ranker or the fusion learned. diversity: 0 relevance alone, 1 difference alone. calibration: 0-1, how far the slate follows
    the shopper's own mix of categories. exploration: share of the slots given to items of uncertain worth.
    """

    name: str
    description: str
    sources: Mapping[str, Weight] = field(default_factory=dict)
    filter: Mapping[str, Json] | None = None
    exclude: Exclusions = Exclusions()
    n: int = 20
    fallback: tuple[str, ...] = ("popular", "new")
    objective: Objective | None = None
    boosts: tuple[Boost, ...] = ()
    pins: tuple[Pin, ...] = ()
    page_promotions: tuple[Promotion, ...] = ()
    diversity: float = 0.0
    calibration: float = 0.0
    caps: Caps = Caps()
    exploration: float = 0.0
    exploration_method: Literal["thompson", "epsilon"] = "thompson"
    rotation: Rotation | None = None
    freshness_half_life_days: float | None = None


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
    erasures: int = 0


class RevisionStore(Protocol):
    async def read(self) -> Revisions: ...
