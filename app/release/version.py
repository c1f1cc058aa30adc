"""A model version as admins see it, and the one pointer to the live one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from app.types import Json

Verdict = Literal["passed", "rejected", "not_judged"]


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """version: e.g. "2026-01-31T12-00-00Z-ab12", also the name of its artifact directory.

    data: {"from", "until", "events", "users", "items"}; metrics: {model: {scenario: {metric: value}}} with the live model
    and the peers beside it, under "transfer" the guard's report for each scenario, and under "privacy", where the towers are
    differentially private, what was spent and what it covers; gate_reason: one sentence for people.
    """

    version: str
    created_at: datetime
    mode: str
    data: Mapping[str, Json] = field(default_factory=dict)
    metrics: Mapping[str, Json] = field(default_factory=dict)
    verdict: Verdict = "not_judged"
    gate_reason: str = ""
    job_id: str | None = None
    is_live: bool = False
    activated_at: datetime | None = None


class VersionStore(Protocol):
    """Activation is a log: the live version is its last entry, rollback goes back along it. Moves the `models` revision."""

    async def add(self, version: ModelVersion) -> None: ...

    async def get(self, version: str) -> ModelVersion | None: ...

    async def list_versions(self, *, after: str | None, limit: int) -> list[ModelVersion]:
        """Newest first."""

    async def live(self) -> ModelVersion | None: ...

    async def earlier(self) -> ModelVersion | None:
        """The one that `rollback` goes back to."""

    async def activate(self, version: str, *, force: bool = False) -> ModelVersion:
        """NotFound("model_not_found"); Conflict("gate_rejected") without force. Activating the live one changes nothing."""

    async def rollback(self) -> ModelVersion:
        """To the version that was live before this one. Conflict("no_earlier_version")."""


class ArtifactStore(Protocol):
    """Immutable model directories by version name, wherever ARTIFACT_URL points."""

    def publish(self, directory: Path, version: str) -> None:
        """Complete or not at all. A version is never overwritten."""

    def fetch(self, version: str) -> Path:
        """A local directory with the artifact (cached). Raises BadArtifact when it is missing."""
