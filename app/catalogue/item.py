"""What an item and a user are, once they are inside the service. Pydantic twins for HTTP live in `app.api`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from app.types import Attributes


@dataclass(frozen=True, slots=True)
class Item:
    item_id: str
    title: str | None = None
    description: str | None = None
    category: tuple[str, ...] = ()  # outermost first
    brand: str | None = None
    price: float | None = None
    currency: str | None = None
    tags: tuple[str, ...] = ()
    attributes: Attributes = field(default_factory=dict)
    image_url: str | None = None
    locale: str | None = None
    available: bool = True
    published_at: datetime | None = None
    expires_at: datetime | None = None
    created_at: datetime | None = None  # set by the store when first described


@dataclass(frozen=True, slots=True)
class Consent:
    personalize: bool = True
    train: bool = True


MAX_AGE = 150  # years


@dataclass(frozen=True, slots=True)
class User:
    user_id: str
    text: str | None = None  # free self-description
    age: int | None = None
    gender: str | None = None
    occupation: str | None = None
    country: str | None = None
    locale: str | None = None
    tags: tuple[str, ...] = ()
    attributes: Attributes = field(default_factory=dict)
    consent: Consent = Consent()
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ItemChanges:
    """What happened to the catalogue after a revision. `items` are described now, `removed` are not (any more)."""

    revision: int
    items: tuple[Item, ...] = ()
    removed: tuple[str, ...] = ()
    has_more: bool = False


PLAIN_ITEM_FIELDS: Mapping[str, type] = {
    "item_id": str, "title": str, "description": str, "brand": str, "price": float, "currency": str, "image_url": str,
    "locale": str, "available": bool, "published_at": datetime, "expires_at": datetime, "created_at": datetime,
}  # fmt: skip
LIST_ITEM_FIELDS = ("category", "tags")
