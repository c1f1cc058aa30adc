"""The report: how slates do."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from app.api.schemas import fields
from app.api.schemas.fields import View
from app.experiments.report import Dimension, Report

UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
MAX_WINDOW = timedelta(days=366)
WINDOW = r"^[1-9][0-9]{0,5}[mhdw]$"
DIMENSIONS: tuple[Dimension, ...] = ("scenario", "variant", "model_version")
BY = rf"^(({'|'.join(DIMENSIONS)})(,({'|'.join(DIMENSIONS)})){{0,2}})?$"
EXAMPLE: dict[str, Any] = {
    "from": "2026-01-24T12:00:00Z",
    "until": "2026-01-31T12:00:00Z",
    "by": ["scenario", "variant"],
    "rows": [
        {
            "scenario": "home", "variant": "bolder", "model_version": None, "slates": 4_000, "shoppers": 900,
            "impressions": 40_000, "clicks": 2_000, "ctr": {"value": 0.05, "low": 0.0467, "high": 0.0535},
            "purchases": 100, "cvr": {"value": 0.05, "low": 0.0405, "high": 0.0616},
            "revenue": [{"currency": "EUR", "value": 2_490.0, "per_slate": {"value": 0.6225, "low": 0.48, "high": 0.765}}],
            "coverage": 0.12,
        }
    ],
    "total": {
        "scenario": None, "variant": None, "model_version": None, "slates": 4_000, "shoppers": 900,
        "impressions": 40_000, "clicks": 2_000, "ctr": {"value": 0.05, "low": 0.0467, "high": 0.0535},
        "purchases": 100, "cvr": {"value": 0.05, "low": 0.0405, "high": 0.0616},
        "revenue": [{"currency": "EUR", "value": 2_490.0, "per_slate": {"value": 0.6225, "low": 0.48, "high": 0.765}}],
        "coverage": 0.12,
    },
    "truncated": False,
}  # fmt: skip


def length_of(window: str) -> timedelta:
    return int(window[:-1]) * UNITS[window[-1]]


def check_window(value: str) -> str:
    if not re.fullmatch(WINDOW, value) or length_of(value) > MAX_WINDOW:
        raise PydanticCustomError(
            "bad_window", "a window is a whole number of m, h, d or w from 1m to 366d, such as 30m, 24h, 7d, 4w"
        )
    return value


def check_by(value: str) -> str:
    names = value.split(",") if value else []
    if len(set(names)) < len(names) or not set(names) <= set(DIMENSIONS):
        raise PydanticCustomError(
            "bad_by", "`by` holds names out of scenario, variant, model_version, each once, separated by commas"
        )
    return value


class ReportQuery(fields.Query):
    window: Annotated[str, AfterValidator(check_window)] = Field(
        "7d",
        description="How far back slates are looked at: minutes (m), hours (h), days (d) or weeks (w), at most 366d",
        json_schema_extra={"pattern": WINDOW, "examples": ["7d"]},
    )
    by: Annotated[str, AfterValidator(check_by)] = Field(
        "scenario",
        description="One row for each combination of these: names out of scenario, variant, model_version, each once, separated by "
        "commas. Empty: the total only",
        json_schema_extra={"pattern": BY, "examples": ["scenario,variant"]},
    )

    @property
    def length(self) -> timedelta:
        return length_of(self.window)

    @property
    def dimensions(self) -> list[Dimension]:
        names = self.by.split(",")
        return sorted((name for name in DIMENSIONS if name in names), key=names.index)


class EstimateView(View):
    value: float | None = Field(description="null: nothing to divide by")
    low: float | None = Field(description="Of the 95 % interval; null: fewer than two shoppers in what is divided by")
    high: float | None


class RevenueView(View):
    currency: str | None = Field(description="null: the purchases named none")
    value: float = Field(description="Sum of the `value` of purchases: what was paid, all pieces together")
    per_slate: EstimateView = Field(description="value / slates")


class ReportRow(View):
    scenario: str | None = Field(description="null: the row is not of one")
    variant: str | None = Field(description="null: the row is not of one, or there was no experiment")
    model_version: str | None = Field(description='null: the row is not of one; "none": fallbacks without a model')
    slates: int
    shoppers: int = Field(description="Users; of slates without one, sessions; of slates without either, slates")
    impressions: int = Field(description="Items that slates showed")
    clicks: int = Field(description="Of these, clicked, put into the cart or bought")
    ctr: EstimateView = Field(description="clicks / impressions")
    purchases: int = Field(description="Of these, bought")
    cvr: EstimateView = Field(description="purchases / clicks")
    revenue: list[RevenueView]
    coverage: float | None = Field(description="Share of the items available now that were shown; null: there are none")


class ReportView(View):
    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    from_at: datetime = Field(serialization_alias="from")
    until_at: datetime = Field(serialization_alias="until")
    by: list[Dimension]
    rows: list[ReportRow] = Field(description="In the order of scenario, variant and model version; null first")
    total: ReportRow = Field(description="Of all slates. Shoppers and coverage are not the sum over rows")
    truncated: bool = Field(
        description="There are more than 1,000 rows (those with the most slates are here), or more than 50 currencies in one"
    )

    @classmethod
    def of(cls, report: Report) -> ReportView:
        return cls(
            from_at=report.since,
            until_at=report.until,
            by=list(report.by),
            rows=[ReportRow.model_validate(row) for row in report.rows],
            total=ReportRow.model_validate(report.total),
            truncated=report.is_cut,
        )
