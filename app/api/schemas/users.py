"""Users as callers send and see them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from app.api.schemas.fields import Attributes, Body, Id, LongText, PatchBody, Time, View, Word, listing_of
from app.api.schemas.items import Tags
from app.catalogue.item import MAX_AGE, Consent, User
from app.feedback.merging import Guest

HANNAH: dict[str, Any] = {
    "text": "I bake every weekend and collect retro kitchen things.",
    "age": 34,
    "gender": "female",
    "occupation": "teacher",
    "country": "GB",
    "locale": "en",
    "tags": ["loyalty"],
    "attributes": {"store": "Leeds"},
    "consent": {"personalize": True, "train": True},
}

Age = Annotated[int, Field(ge=0, le=MAX_AGE)]


class ConsentBody(Body):
    personalize: bool = Field(True, description="false: the non-personal slate")
    train: bool = Field(True, description="false: this user's events stay out of every training set")


class UserFields(Body):
    text: LongText | None = Field(None, description="Free self-description")
    age: Age | None = None
    gender: Word | None = None
    occupation: Word | None = None
    country: Word | None = None
    locale: Word | None = None
    tags: Tags = Field([])
    attributes: Attributes = Field({}, description="Anything else, at most 64 KiB of JSON")
    consent: ConsentBody = ConsentBody()

    def to_user(self, user_id: str) -> User:
        fields = {name: getattr(self, name) for name in UserFields.model_fields}
        fields["tags"] = tuple(self.tags)
        fields["consent"] = Consent(**self.consent.model_dump())
        return User(user_id=user_id, **fields)


class UserPut(UserFields):
    """A whole user: what is left out is empty afterwards."""

    model_config = ConfigDict(json_schema_extra={"examples": [HANNAH]})

    user_id: Id | None = Field(None, description="May be repeated here; it must be the one in the path")
    created_at: Time | None = Field(
        None, description="Set by the service; accepted so that what was read can be put back"
    )


class UserRow(UserFields):
    """One user of a bulk call."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user_id": "u1", **HANNAH}]})

    user_id: Id
    created_at: Time | None = Field(
        None, description="Set by the service; accepted so that what was read can be put back"
    )


class ConsentPatch(PatchBody):
    personalize: bool | None = None
    train: bool | None = None


class UserPatch(PatchBody):
    """Only what is given changes (JSON merge patch, RFC 7396): null clears, `attributes` and `consent` are merged."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"text": "I took up fishing.", "consent": {"train": False}}]}
    )

    text: LongText | None = None
    age: Age | None = None
    gender: Word | None = None
    occupation: Word | None = None
    country: Word | None = None
    locale: Word | None = None
    tags: Tags | None = None
    attributes: Attributes | None = None
    consent: ConsentPatch | None = None


class MergeBody(Body):
    """Exactly one of the two."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"from_session_id": "s1"}, {"from_user_id": "guest-17"}]})

    from_session_id: Id | None = Field(None, description="A visit without login")
    from_user_id: Id | None = Field(None, description="An id that the shop gave to a guest; it is gone afterwards")

    @model_validator(mode="after")
    def check_one(self) -> MergeBody:
        if (self.from_session_id is None) == (self.from_user_id is None):
            raise PydanticCustomError("not_one_source", "give either from_session_id or from_user_id")
        return self

    def to_guest(self) -> Guest:
        return Guest(self.from_user_id, self.from_session_id)


class MergeView(View):
    model_config = ConfigDict(json_schema_extra={"examples": [{"events": 12, "impressions": 3, "profile": False}]})

    events: int = Field(description="How many became the account's")
    impressions: int
    profile: bool = Field(description="The account's description was filled from the guest's")


class ConsentView(View):
    personalize: bool
    train: bool


class UserView(View):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"user_id": "u1", **HANNAH, "created_at": "2026-01-31T12:00:03Z"}]}
    )

    user_id: str
    text: str | None
    age: int | None
    gender: str | None
    occupation: str | None
    country: str | None
    locale: str | None
    tags: tuple[str, ...]
    attributes: dict[str, Any]
    consent: ConsentView
    created_at: datetime | None


class UserList(View):
    model_config = listing_of("users", UserView)

    users: list[UserView]
    next_cursor: str | None
