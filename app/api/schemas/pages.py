"""Whole pages: several slates in one call."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from app.api.problems import FieldError
from app.api.schemas.fields import View, Word
from app.api.schemas.recommendations import SLATE, Shopper, SlateOptions, SlateView
from app.serving.slate import SlateRequest

MAX_SLATES = 20
MAX_PAGE_COST = 600  # see MAX_FILTER_COST of one slate


class PageSlateBody(SlateOptions):
    name: Word = Field(description="Of the slate on this page; the answer is keyed by it")


class PageBody(Shopper):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "user_id": "u1",
                    "session_id": "s1",
                    "slates": [
                        {"name": "for you", "scenario": "home", "n": 8},
                        {"name": "offers", "scenario": "promotion", "n": 4, "filter": {"field": "price", "lt": 50}},
                    ],
                }
            ]
        }
    )

    slates: Annotated[list[PageSlateBody], Field(min_length=1, max_length=MAX_SLATES)] = Field(
        description="In the order in which they choose their items; at most 1,000 items together"
    )

    def faults(self) -> list[FieldError]:
        """Names given twice, and filters that would take seconds together."""
        names = [slate.name for slate in self.slates]
        cost = sum(slate.filter_cost() for slate in self.slates)
        what = f"filters and boosts of the page together have {cost} clauses, at most {MAX_PAGE_COST} are possible"
        costly = [FieldError(("slates",), "query_too_costly", what)] if cost > MAX_PAGE_COST else []
        return costly + [
            FieldError(("slates", i, "name"), "duplicate_name", f"there is a slate {name[:60]!r} before this one")
            for i, name in enumerate(names)
            if name in names[:i]
        ]

    def to_requests(self) -> list[SlateRequest]:
        shopper = self.shopper()
        return [SlateRequest(**slate.options(), **shopper) for slate in self.slates]


class PageView(View):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"page_id": "01JJX2M8Z6Q5T0V4W9Y1B3C7D2", "slates": {"for you": SLATE}}]}
    )

    page_id: str
    slates: dict[str, SlateView] = Field(description="By name, in the order asked for; no item is in two of them")
