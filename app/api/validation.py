"""Pydantic's findings in the words of the contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.api.problems import FieldError

MAX_SHOWN_CHARS = 60
# What people said of themselves is never repeated.
FREE_WORDS = {"text", "query", "context", "attributes", "cursor", "q"}
CODES = {
    "extra_forbidden": "unknown_field",
    "missing": "missing_field",
    "string_unicode": "bad_text",
    "finite_number": "not_finite",
    "string_too_long": "too_long",
    "string_too_short": "too_short",
    "too_long": "too_many",
    "too_short": "too_few",
    "literal_error": "not_a_choice",
    "greater_than": "out_of_range",
    "greater_than_equal": "out_of_range",
    "less_than": "out_of_range",
    "less_than_equal": "out_of_range",
}

DETAILS = {
    "extra_forbidden": "no such field; check the spelling",
    "missing": "this field is required",
    "string_unicode": "the text holds a lone surrogate or is not UTF-8",
    "model_type": "a JSON object is needed here",
    "model_attributes_type": "a JSON object is needed here",
    "dict_type": "a JSON object is needed here",
}


def field_errors(found: Sequence[Any]) -> list[FieldError]:
    return [FieldError(tuple(error["loc"]), _code(error["type"]), _detail(error)) for error in found]


def parameter_errors(found: Sequence[Any]) -> list[FieldError]:
    """Of path and query parameters: the framework says first in which part of the request they stand; callers do not."""
    return field_errors([{**error, "loc": error["loc"][1:]} for error in found])


def _code(kind: str) -> str:
    if kind in CODES:
        return CODES[kind]
    return "wrong_type" if kind.endswith(("_type", "_parsing")) else kind


def _detail(error: Mapping[str, Any]) -> str:
    kind, value = error["type"], error.get("input")
    if kind in DETAILS:
        return DETAILS[kind]
    message = str(error["msg"]).removeprefix("Value error, ")
    is_shown = _is_plain(value) and FREE_WORDS.isdisjoint(map(str, error["loc"]))
    return f"{message} (got {_shown(value)})" if is_shown else message


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)


def _shown(value: Any) -> str:
    if isinstance(value, int) and value.bit_length() > 64:
        return "a number beyond 64 bits"
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= MAX_SHOWN_CHARS else text[:MAX_SHOWN_CHARS] + "…"
