"""What an event is, and how much each type says about taste."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from app.types import Attributes


@dataclass(frozen=True, slots=True)
class Event:
    event_id: str
    type: str
    item_id: str
    occurred_at: datetime
    user_id: str | None = None
    session_id: str | None = None
    scenario: str | None = None
    recommendation_id: str | None = None
    position: int | None = None  # 1-based
    value: float | None = None  # money, or the stars of a rating
    quantity: float | None = None
    currency: str | None = None
    order_id: str | None = None
    context: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Impression:
    """One slate as it was shown: the service writes it itself."""

    recommendation_id: str
    scenario: str
    model_version: str
    shown_at: datetime
    item_ids: tuple[str, ...]
    scores: tuple[float, ...]
    propensities: tuple[float, ...]  # probability that the item stood at its position; 1.0 where nothing was drawn
    user_id: str | None = None
    session_id: str | None = None
    variant: str | None = None
    context: Attributes = field(default_factory=dict)


# Weight of one event as a positive example in training; 0: known, but says nothing of liking. Import also meets `use`,
# `review` and `return`, which storefront contracts do not send but public data sets hold.
EVENT_WEIGHTS: Mapping[str, float] = {
    "impression": 0.0, "view": 0.5, "click": 1.0, "cart_add": 2.0, "cart_remove": 0.0, "purchase": 3.0,
    "like": 2.0, "dislike": 0.0, "rating": 1.0, "share": 2.0, "use": 1.0, "review": 1.0, "return": 0.0,
}  # fmt: skip
API_EVENT_TYPES = (
    "impression", "view", "click", "cart_add", "cart_remove", "purchase", "like", "dislike", "rating", "share",
)  # fmt: skip

LIKED_STARS, DISLIKED_STARS = (
    4.0,
    3.0,
)  # a rating from the first on is liking, below the second disliking, between: a look


def taste_kind(event_type: pl.Expr, value: pl.Expr) -> pl.Expr:
    """What an event means as taste: its type, but a rating by its stars (none given: a liking)."""
    return (
        pl.when(event_type == "rating", value < DISLIKED_STARS)
        .then(pl.lit("dislike"))
        .when(event_type == "rating", value < LIKED_STARS)
        .then(pl.lit("view"))
        .otherwise(event_type)
    )


def taste_kind_of(event_type: str, value: float | None) -> str:
    """The same for one event, as the live state keeps it."""
    if event_type != "rating" or value is None or value >= LIKED_STARS:
        return event_type
    return "dislike" if value < DISLIKED_STARS else "view"
