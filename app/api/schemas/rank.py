"""The caller's own list, and that list in order."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from app.api.schemas.fields import Id, JsonObject, View, empty
from app.api.schemas.recommendations import (
    QUERY,
    ContextItems,
    DiagnosticsView,
    InterpretedQueryView,
    ItemFieldNames,
    Selective,
    Shopper,
    SlateItemView,
    Words,
)
from app.serving.slate import SlateRequest

MAX_RANKED = 1_000


class RankBody(Selective, Shopper):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"scenario": "search", "user_id": "u1", "item_ids": ["sku-1", "sku-2"], "fields": ["title"]}]
        }
    )

    scenario: Id = Field(description="A configured scenario")
    item_ids: Annotated[list[Id], Field(min_length=1, max_length=MAX_RANKED)] = Field(
        description="What to put in order; an item named twice is ranked once"
    )
    context_items: ContextItems = empty(list, description="The item being viewed, or the cart")
    query: Words | None = Field(None, description=QUERY)
    filter: JsonObject | None = Field(
        None,
        description="What does not match comes back under filtered_items; the scenario's own filter is not applied",
    )
    fields: ItemFieldNames = empty(list, description="Item properties to return with each item, or attributes.<name>")
    reasons: bool = Field(False, description="Why each item stands where it does")

    def unique_items(self) -> list[str]:
        return list(dict.fromkeys(self.item_ids))

    def to_request(self) -> SlateRequest:
        return SlateRequest(
            scenario=self.scenario,
            context_items=tuple(self.context_items),
            query=self.query,
            filter=self.filter,
            boosts=tuple(boost.to_boost() for boost in self.boosts),
            fields=tuple(self.fields),
            reasons=self.reasons,
            **self.shopper(),
        )


class RankView(View):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "recommendation_id": "01JJX2M8Z6Q5T0V4W9Y1B3C7D2",
                    "scenario": "search",
                    "model_version": "2026-01-31T12-00-00Z-ab12",
                    "items": [
                        {
                            "item_id": "sku-1",
                            "position": 1,
                            "score": 0.83,
                            "sources": ["two_tower", "item_cf"],
                            "cold": False,
                            "explored": False,
                        }
                    ],
                    "unavailable_items": ["sku-2"],
                    "unknown_items": [],
                    "filtered_items": [],
                    "fallbacks": [],
                    "degraded": [],
                }
            ]
        }
    )

    recommendation_id: str = Field(
        description="For feedback on what you show of it; the ranking itself is not recorded"
    )
    scenario: str
    model_version: str | None = Field(description="null: ordered without a model, by what sells")
    items: list[SlateItemView] = Field(description="Best first; purchased ones too")
    unavailable_items: list[str] = Field(
        description="Known, but hidden, expired or not yet published; in the order given"
    )
    unknown_items: list[str] = Field(description="The catalogue has no such item; in the order given")
    filtered_items: list[str] = Field(
        description="The request's filter, or what its words demand, leaves them out; in the order given"
    )
    fallbacks: list[str] = Field(
        description="What ordered items that no source of the scenario scored, behind the others"
    )
    degraded: list[str] = Field(description="Which dependency was missing, such as user_state")
    interpreted_query: InterpretedQueryView | None = Field(None, description="Only where `query` was asked with")
    diagnostics: DiagnosticsView | None = Field(None, description="Only where it was asked for")
