"""Events as storefronts send them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from app.api.problems import FieldError
from app.api.schemas.fields import Body, Context, Id, Time, View, Word
from app.feedback.event import Event

MAX_EVENTS = 1_000
MAX_FUTURE = timedelta(minutes=5)
CLICK: dict[str, Any] = {
    "type": "click",
    "item_id": "sku-1",
    "user_id": "u1",
    "event_id": "click-4711",
    "scenario": "home",
    "recommendation_id": "01JJX2M8Z6Q5T0V4W9Y1B3C7D2",
    "position": 1,
}
PURCHASE: dict[str, Any] = {
    "type": "purchase",
    "item_id": "sku-1",
    "user_id": "u1",
    "value": 9.9,
    "quantity": 2,
    "currency": "GBP",
    "order_id": "order-99",
    "occurred_at": "2026-01-31T12:05:00Z",
}


class EventBody(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [CLICK]})

    type: Word = Field(
        description="impression, view, click, cart_add, cart_remove, purchase, like, dislike, rating, share, "
        "or a type configured in the settings"
    )
    item_id: Id
    user_id: Id | None = Field(None, description="user_id or session_id is needed")
    session_id: Id | None = None
    event_id: Id | None = Field(None, description="Idempotency key; without it the service makes one and returns it")
    scenario: Id | None = None
    recommendation_id: Id | None = None
    position: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(None, description="From 1")
    value: Annotated[float, Field(ge=-1e12, le=1e12)] | None = Field(
        None, description="Money (of a purchase what was paid, all pieces together), or the stars of a rating"
    )
    quantity: Annotated[float, Field(gt=0, le=1e9)] | None = None
    currency: Word | None = None
    order_id: Id | None = None
    occurred_at: Time | None = Field(None, description="Default: now. More than 5 minutes ahead is refused")
    context: Context = Field(
        default_factory=dict,  # pydantic makes a deep copy of a default, for every event
        description="Free, at most 4 KiB of JSON", json_schema_extra={"default": {}},
    )  # fmt: skip

    def check(self, types: Collection[str], now: datetime) -> FieldError | None:
        """What no schema can say: known type, some shopper, not from the future."""
        if self.type not in types:
            return FieldError(("type",), "unknown_event_type", f"unknown event type; known are {', '.join(types)}")
        if self.user_id is None and self.session_id is None:
            return FieldError(("user_id",), "no_shopper", "give a user_id or a session_id, or both")
        if self.occurred_at is not None and self.occurred_at > now + MAX_FUTURE:
            return FieldError(("occurred_at",), "in_the_future", "occurred_at is more than 5 minutes in the future")
        return None

    def to_event(self, now: datetime, new_id: str) -> Event:
        """new_id: taken where the caller gave none."""
        return Event(
            self.event_id or new_id, self.type, self.item_id, self.occurred_at or now, self.user_id, self.session_id,
            self.scenario, self.recommendation_id, self.position, self.value, self.quantity, self.currency, self.order_id,
            self.context,
        )  # fmt: skip


class EventList(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"events": [CLICK, PURCHASE]}]})

    events: Annotated[list[EventBody], Field(min_length=1, max_length=MAX_EVENTS)]


class RejectedRow(View):
    index: int = Field(description="From 0; in NDJSON, blank lines are not counted")
    code: str
    detail: str


class FeedbackResult(View):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "accepted": 1,
                    "duplicates": 0,
                    "rejected": [{"index": 1, "code": "missing_field", "detail": "item_id: this field is required"}],
                    "event_ids": ["click-4711"],
                }
            ]
        }
    )

    accepted: int = Field(description="New and durable")
    duplicates: int = Field(description="Known event_id: nothing changed")
    rejected: list[RejectedRow]
    event_ids: list[str] = Field(description="Of all rows that were not rejected, in their order")


class BulkResult(View):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "accepted": 1,
                    "rejected": [{"index": 1, "code": "wrong_type", "detail": "price: Input should be a valid number"}],
                }
            ]
        }
    )

    accepted: int
    rejected: list[RejectedRow]
