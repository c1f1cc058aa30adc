"""List bodies (JSON or NDJSON): each row stands alone, a bad one is reported and the rest goes on."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, TypeAdapter, ValidationError

from app.api.json_body import BULK_LIMIT, MalformedJson, parse_json, read_body
from app.api.problems import FieldError, Loc, unprocessable
from app.api.schemas.feedback import RejectedRow
from app.api.validation import field_errors

MAX_ROWS = 1_000
Row = TypeVar("Row", bound=BaseModel)


async def read_ndjson(request: Request) -> list[Any]:
    """One value a line, blank lines left out; a line that is no JSON stands there as its MalformedJson."""
    lines = [line for line in (await read_body(request, BULK_LIMIT)).split(b"\n") if line.strip()]
    check_count(lines, ())
    return [_parsed(line) for line in lines]


def _parsed(line: bytes) -> Any:
    try:
        return parse_json(line)
    except MalformedJson as error:
        return error


def check_rows(value: Any, loc: Loc) -> list[Any]:
    """A JSON list of 1 to MAX_ROWS rows. Raises 422."""
    if not isinstance(value, list):
        raise unprocessable([FieldError(loc, "wrong_type", "a list is needed here")])
    check_count(value, loc)
    return value


def check_count(rows: Sequence[Any], loc: Loc) -> None:
    if not rows:
        raise unprocessable([FieldError(loc, "too_few", "the list is empty; send at least one row")])
    if len(rows) > MAX_ROWS:
        detail = f"{len(rows)} rows; send at most {MAX_ROWS} in one call"
        raise unprocessable([FieldError(loc, "too_many", detail)])


@functools.cache
def adapter_of(model: type[Row]) -> TypeAdapter[list[Row]]:
    return TypeAdapter(list[model])  # type: ignore[valid-type]


def validate_rows(model: type[Row], rows: Sequence[Any]) -> tuple[list[tuple[int, Row]], list[RejectedRow]]:
    """Good rows with their index, and the rejected ones."""
    with contextlib.suppress(ValidationError):  # most lists are good, and as a whole they take half the time
        return list(enumerate(adapter_of(model).validate_python(rows))), []
    good: list[tuple[int, Row]] = []
    rejected: list[RejectedRow] = []
    for index, value in enumerate(rows):
        if isinstance(value, MalformedJson):
            rejected.append(RejectedRow(index=index, code=value.code, detail=value.detail))
            continue
        try:
            good.append((index, model.model_validate(value)))
        except ValidationError as error:
            rejected.append(rejection(index, field_errors(error.errors(include_url=False))))
    return good, rejected


def rejection(index: int, errors: Sequence[FieldError]) -> RejectedRow:
    return RejectedRow(index=index, code=errors[0].code, detail=printable(unprocessable(errors).detail))


def printable(text: str) -> str:
    """Field names come from the caller and may hold lone surrogates, which no UTF-8 response can."""
    return text.encode("utf-8", "backslashreplace").decode()
