"""Everything the routes need, joined by `app.wiring` and handed over as one object. Knows no HTTP and no store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from app.access.key_ring import KeyRing
from app.access.key_use import KeyUse
from app.access.rate_limit import RateLimiter
from app.catalogue.ports import CatalogueStore
from app.experiments.experiment import Experiment
from app.experiments.report import Reporter
from app.feedback.event import Event
from app.feedback.merging import Guest, Merged
from app.feedback.state import LiveState
from app.learning.jobs import JobStore
from app.privacy.erasure import Erasure
from app.privacy.exporting import Holdings
from app.privacy.taste import Taste
from app.release.version import VersionStore
from app.scenarios.scenario import Scenario
from app.serving.ordering import RankedItems
from app.serving.slate import Slate, SlateRequest
from app.settings import Settings


class FeedbackIntake(Protocol):
    async def submit(self, events: Sequence[Event]) -> set[str]:
        """Durable on return. Returns the event ids that were new; raises Unavailable."""

    async def retract(self, event_id: str) -> bool: ...

    def confirm(self, group_id: str) -> None:
        """The live state has this group."""


class Merger(Protocol):
    async def merge(self, guest: Guest, user_id: str) -> Merged:
        """Raises Invalid("merge_into_itself"), Unavailable."""


class Eraser(Protocol):
    async def erase(self, user_id: str) -> Erasure | None:
        """None where nothing was held. Raises Unavailable."""


class Exporter(Protocol):
    async def export(self, user_id: str) -> Holdings | None:
        """None where nothing is held. Raises Unavailable."""


class TasteReader(Protocol):
    async def read(self, user_id: str, limit: int) -> Taste | None:
        """None where nothing is known. Raises Unavailable."""


class Recommender(Protocol):
    """caller: the API key that cursors belong to."""

    async def recommend(self, request: SlateRequest, caller: str) -> Slate:
        """Raises NotFound("scenario_not_found", "model_not_found"), Invalid (filter, fields), Conflict("model_unusable")."""

    async def recommend_page(self, requests: Sequence[SlateRequest], caller: str) -> Sequence[Slate]:
        """Of one shopper, in the order in which they choose. Raises as `recommend`."""

    async def recommend_next(self, cursor: str, caller: str) -> tuple[Slate, SlateRequest]:
        """Raises Invalid("bad_cursor"), Gone("cursor_expired"), Unavailable, and as `recommend`."""

    async def rank_items(self, request: SlateRequest, item_ids: Sequence[str]) -> RankedItems:
        """item_ids: without repeats. Raises as `recommend`."""


class ScenarioRegistry(Protocol):
    def get(self, name: str) -> Scenario:
        """Raises NotFound("scenario_not_found")."""

    def all(self) -> Sequence[Scenario]: ...

    async def put(self, scenario: Scenario) -> None:
        """Raises Invalid for a filter, source or fallback that could never work."""

    async def delete(self, name: str) -> bool:
        """A ready-made scenario goes back to its default. False if there was nothing of that name."""


class ExperimentRegistry(Protocol):
    def get(self, name: str) -> Experiment:
        """Raises NotFound("experiment_not_found")."""

    def all(self) -> list[Experiment]:
        """By name."""

    async def put(self, experiment: Experiment) -> None:
        """Raises Invalid for what could never work, Conflict("scenario_in_experiment")."""

    async def delete(self, name: str) -> bool:
        """False if there was nothing of that name."""


@dataclass(frozen=True, slots=True)
class Health:
    """ready: a slate can be served now, if need be from fallbacks only. complete: also the live model and the encoder are loaded."""

    ready: bool
    complete: bool
    model_version: str | None
    postgres: bool
    redis: bool


@dataclass(frozen=True)
class Services:
    settings: Settings
    catalogue: CatalogueStore
    intake: FeedbackIntake
    merger: Merger
    eraser: Eraser
    exporter: Exporter
    taste: TasteReader
    live_state: LiveState
    recommender: Recommender
    scenarios: ScenarioRegistry
    experiments: ExperimentRegistry
    jobs: JobStore
    versions: VersionStore
    reporter: Reporter
    keys: KeyRing
    key_use: KeyUse
    rate_limiter: RateLimiter
    health: Callable[[], Awaitable[Health]]
