"""Items as callers send and see them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from app.api.schemas.fields import Attributes, Body, Id, Line, LongText, PatchBody, Time, View, Word, listing_of
from app.catalogue.item import Item

LUNCH_BOX: dict[str, Any] = {
    "title": "Retrospot lunch box",
    "description": "Sturdy tin lunch box with a red retrospot pattern and a carrying handle.",
    "category": ["Kitchen", "Lunch boxes"],
    "brand": "Retrospot",
    "price": 4.95,
    "currency": "GBP",
    "tags": ["lunch", "kids"],
    "attributes": {"colour": "red"},
    "image_url": "https://shop.example/images/sku-1.jpg",
    "locale": "en",
    "available": True,
    "published_at": "2026-01-31T12:00:00Z",
}

Categories = Annotated[list[Word], Field(max_length=20)]
Tags = Annotated[list[Word], Field(max_length=200)]
Price = Annotated[float, Field(ge=0, le=1e12)]


class ItemFields(Body):
    title: Line | None = Field(None, description="The name people see")
    description: LongText | None = None
    category: Categories = Field([], description="Path in the catalogue, outermost first")
    brand: Word | None = None
    price: Price | None = Field(None, description="In `currency`")
    currency: Word | None = Field(None, description="ISO 4217, such as GBP")
    tags: Tags = Field([])
    attributes: Attributes = Field({}, description="Anything else, at most 64 KiB of JSON")
    image_url: Line | None = None
    locale: Word | None = Field(None, description="Language of the texts, such as en or de-CH")
    available: bool = Field(True, description="false: never recommended from the next request on, still trained on")
    published_at: Time | None = Field(None, description="Hidden until then")
    expires_at: Time | None = Field(None, description="Never recommended from then on")

    def to_item(self, item_id: str) -> Item:
        fields = {name: getattr(self, name) for name in ItemFields.model_fields}
        fields["category"], fields["tags"] = tuple(self.category), tuple(self.tags)
        return Item(item_id=item_id, **fields)


class ItemPut(ItemFields):
    """A whole item: what is left out is empty afterwards."""

    model_config = ConfigDict(json_schema_extra={"examples": [LUNCH_BOX]})

    item_id: Id | None = Field(None, description="May be repeated here; it must be the one in the path")
    created_at: Time | None = Field(
        None, description="Set by the service; accepted so that what was read can be put back"
    )


class ItemRow(ItemFields):
    """One item of a bulk call."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"item_id": "sku-1", **LUNCH_BOX}]})

    item_id: Id
    created_at: Time | None = Field(
        None, description="Set by the service; accepted so that what was read can be put back"
    )


class ItemPatch(PatchBody):
    """Only what is given changes (JSON merge patch, RFC 7396): null clears a field, `attributes` are merged by name."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"price": 3.95, "attributes": {"colour": None}}]})

    title: Line | None = None
    description: LongText | None = None
    category: Categories | None = None
    brand: Word | None = None
    price: Price | None = None
    currency: Word | None = None
    tags: Tags | None = None
    attributes: Attributes | None = None
    image_url: Line | None = None
    locale: Word | None = None
    available: bool | None = None
    published_at: Time | None = None
    expires_at: Time | None = None


class ItemView(View):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"item_id": "sku-1", **LUNCH_BOX, "expires_at": None, "created_at": "2026-01-31T12:00:03Z"},
            ]
        }
    )

    item_id: str
    title: str | None
    description: str | None
    category: tuple[str, ...]
    brand: str | None
    price: float | None
    currency: str | None
    tags: tuple[str, ...]
    attributes: dict[str, Any]
    image_url: str | None
    locale: str | None
    available: bool
    published_at: datetime | None
    expires_at: datetime | None
    created_at: datetime | None


class ItemList(View):
    model_config = listing_of("items", ItemView)

    items: list[ItemView]
    next_cursor: str | None
