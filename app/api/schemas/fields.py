"""The small types all schemas are made of: ids, texts, times, numbers, free objects. Strict: "5" is not 5."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from app.api.raw_path import decode_segment
from app.types import RFC_3339, time_of

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
MAX_DEPTH = 16
MAX_INT = 2**63 - 1
MAX_PAGE = 1000


class PatchBody(BaseModel):
    """A request body: exact types, no unknown field, no NaN."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Body(PatchBody):
    """A request body in which null means left out, because many clients write an empty optional field so."""

    @model_validator(mode="before")
    @classmethod
    def drop_nulls(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: given for name, given in value.items() if given is not None or name not in cls.model_fields}


class Query(BaseModel):
    """Query parameters: values come as text, unknown names are refused like unknown fields."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class View(BaseModel):
    """A response body."""

    model_config = ConfigDict(from_attributes=True)


def listing_of(plural: str, row: type[View]) -> ConfigDict:
    """The example of a listing: one row and a cursor."""
    extra = row.model_config["json_schema_extra"]
    assert isinstance(extra, dict)
    return ConfigDict(json_schema_extra={"examples": [{plural: extra["examples"], "next_cursor": "MTpza3UtMQ"}]})


def check_id(value: str) -> str:
    if CONTROL.search(value):
        raise PydanticCustomError("bad_id", "an id holds no control characters")
    if value in (".", ".."):
        raise PydanticCustomError("bad_id", "'.' and '..' cannot be ids: paths would lose them")
    return value


def check_text(value: str) -> str:
    if "\x00" in value:
        raise PydanticCustomError("bad_text", "text holds no NUL character")
    return value


def parse_time(value: Any) -> datetime:
    """RFC 3339 with an offset, as UTC."""
    if not isinstance(value, str) or not RFC_3339.fullmatch(value):
        raise PydanticCustomError("bad_time", "a time is RFC 3339 with an offset, such as 2026-01-31T12:00:00Z")
    at = time_of(value)
    if at is None:
        raise PydanticCustomError("bad_time", "no such moment in the calendar")
    return at


def check_json(value: dict[str, Any]) -> dict[str, Any]:
    """What Postgres and every JSON reader can hold: finite numbers of 64 bits, no NUL, at most MAX_DEPTH deep."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in _children(node)]
        if not level:
            return value
    raise PydanticCustomError("too_deep", "the object is nested too deeply; at most 16 levels")


def _children(node: Any) -> list[Any]:
    if isinstance(node, dict):
        for key in node:
            _check_string(key)
        return list(node.values())
    if isinstance(node, list):
        return node
    if isinstance(node, str):
        _check_string(node)
    elif isinstance(node, float):
        if node - node != 0:
            raise PydanticCustomError("not_finite", "a number in the object is not finite")
    elif isinstance(node, int) and abs(node) > MAX_INT:
        raise PydanticCustomError("out_of_range", "a number in the object is beyond 64 bits")
    return []


def _check_string(text: str) -> None:
    check_text(text)
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise PydanticCustomError("bad_text", "the text holds a lone surrogate") from error


def empty(kind: type[list[Any]] | type[dict[str, Any]], **said: str) -> Any:
    """The default of a field, made anew for each model. Of `Field([])` pydantic makes a deep copy, which takes as long as all other checks
    of a small request."""
    return Field(default_factory=kind, json_schema_extra={"default": kind()}, **said)  # type: ignore[call-overload]


def at_most_bytes(limit: int) -> AfterValidator:
    """Bounds a free object by the size of its compact JSON."""

    def check(value: dict[str, Any]) -> dict[str, Any]:
        if len(orjson.dumps(value)) > limit:
            raise PydanticCustomError("too_large", "the object is larger than {limit} bytes", {"limit": limit})
        return value

    return AfterValidator(check)


ID_PATTERN = r"^[^\x00-\x1f\x7f-\x9f]+$"
Id = Annotated[
    str, Field(min_length=1, max_length=256, json_schema_extra={"pattern": ID_PATTERN}), AfterValidator(check_id)
]
PathId = Annotated[Id, BeforeValidator(decode_segment)]


Word = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(check_text)]
Line = Annotated[str, Field(max_length=2_000), AfterValidator(check_text)]
LongText = Annotated[str, Field(max_length=50_000), AfterValidator(check_text)]
Time = Annotated[
    datetime,
    BeforeValidator(parse_time),
    WithJsonSchema({"type": "string", "format": "date-time", "description": "RFC 3339 with an offset"}),
]
JsonObject = Annotated[dict[str, Any], AfterValidator(check_json), WithJsonSchema({"type": "object"})]
Attributes = Annotated[JsonObject, at_most_bytes(64 * 1024)]
Context = Annotated[JsonObject, at_most_bytes(4 * 1024)]
