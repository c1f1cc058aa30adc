"""Health answers and the error document."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from app.api.schemas.fields import View

UpOrDown = Literal["up", "down"]


class Alive(View):
    model_config = ConfigDict(json_schema_extra={"examples": [{"alive": True}]})

    alive: Literal[True]


class Ready(View):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"ready": True, "model_version": "2026-01-31T12-00-00Z-ab12", "postgres": "up", "redis": "up"}]
        }
    )

    ready: bool
    model_version: str | None
    postgres: UpOrDown
    redis: UpOrDown


class FieldProblem(View):
    loc: list[str | int] = Field(description="Path to the field")
    code: str
    detail: str


class Problem(View):
    """RFC 9457. Some codes add members, such as job_id."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str = Field(description="What, which value, what to do")
    code: str = Field(description="A stable machine word")
    errors: list[FieldProblem] | None = Field(None, description="The fields that do not fit")
