"""Jobs, model versions and keys."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from app.access.keys import Scope
from app.api.schemas.fields import Body, Line, View, Word, listing_of
from app.learning.jobs import Activation, JobMode, JobState
from app.release.version import Verdict

JOB_ID = "01JJX2M8Z6Q5T0V4W9Y1B3C7D2"
VERSION = "2026-01-31T12-00-00Z-ab12"


class RetrainBody(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"mode": "full", "reason": "new season"}]})

    mode: JobMode
    reason: Line | None = None


class JobStarted(View):
    model_config = ConfigDict(json_schema_extra={"examples": [{"job_id": JOB_ID}]})

    job_id: str


class JobView(View):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "job_id": JOB_ID,
                    "mode": "full",
                    "state": "running",
                    "stage": "training",
                    "progress": 0.4,
                    "eta_seconds": 95.0,
                    "reason": "new season",
                    "activation": "auto",
                    "created_at": "2026-01-31T12:00:00Z",
                    "started_at": "2026-01-31T12:00:01Z",
                    "finished_at": None,
                    "model_version": None,
                    "metrics": {},
                    "error": None,
                    "log_tail": ["epoch 3, loss 4.21"],
                }
            ]
        }
    )

    job_id: str
    mode: JobMode
    state: JobState
    stage: str
    progress: float = Field(ge=0, le=1)
    eta_seconds: float | None
    reason: str | None
    activation: Activation
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    model_version: str | None = Field(description="The version it made")
    metrics: dict[str, Any]
    error: str | None
    log_tail: tuple[str, ...]


class JobList(View):
    model_config = listing_of("jobs", JobView)

    jobs: list[JobView]
    next_cursor: str | None


class ModelView(View):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "version": VERSION,
                    "created_at": "2026-01-31T12:04:00Z",
                    "mode": "full",
                    "data": {"from": "2025-11-02T00:00:00Z", "until": "2026-01-31T12:00:00Z", "events": 90_000},
                    "metrics": {"duoscene": {"home": {"ndcg@10": 0.12}}},
                    "verdict": "passed",
                    "gate_reason": "Not worse than the live model beyond the interval.",
                    "job_id": JOB_ID,
                    "is_live": True,
                    "activated_at": "2026-01-31T12:04:05Z",
                }
            ]
        }
    )

    version: str
    created_at: datetime
    mode: str
    data: dict[str, Any] = Field(description="Window and counts of what it was trained on")
    metrics: dict[str, Any] = Field(
        description="model: scenario: metric: value; the live model and the peers beside it. Under `transfer`, per scenario: "
        "users, NDCG@10 shared, with the adapter and separate, the gains, and the choice the version serves by. Under `ranker`: "
        "what orders in each scenario, why, and the calibration error of each head. Under `privacy`, where the towers are "
        "differentially private: epsilon, delta, noise, and what they cover"
    )
    verdict: Verdict
    gate_reason: str
    job_id: str | None
    is_live: bool
    activated_at: datetime | None


class ModelList(View):
    model_config = listing_of("models", ModelView)

    models: list[ModelView]
    next_cursor: str | None


class ActivateBody(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"force": True}]})

    force: bool = Field(False, description="true: also a version that the gate rejected")


class KeyBody(Body):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "storefront", "scopes": ["recommend", "feedback"]}]}
    )

    name: Word
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=20)]
    rate_limit_per_minute: Annotated[int, Field(ge=1, le=100_000_000)] | None = Field(
        None, description="Requests it may make in a minute; default: what the settings say"
    )


class KeyCreated(View):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "01JJX2M8Z6Q5T0V4W9Y1B3C7D2",
                    "key": "dsk_…",
                    "name": "storefront",
                    "scopes": ["feedback", "recommend"],
                }
            ]
        }
    )

    id: str
    key: str = Field(description="Shown this once")
    name: str
    scopes: list[Scope]


class KeyView(View):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "01JJX2M8Z6Q5T0V4W9Y1B3C7D2",
                    "name": "storefront",
                    "scopes": ["feedback", "recommend"],
                    "created_at": "2026-01-31T12:00:00Z",
                    "revoked_at": None,
                    "last_used_at": "2026-02-03T08:15:00Z",
                    "rate_limit_per_minute": None,
                }
            ]
        }
    )

    id: str
    name: str
    scopes: list[Scope]
    created_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="To about a minute; null: never")
    rate_limit_per_minute: int | None = Field(description="null: what the settings say")


class KeyList(View):
    model_config = listing_of("keys", KeyView)

    keys: list[KeyView]
    next_cursor: str | None
