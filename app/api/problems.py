"""Errors as the contract shows them: `application/problem+json` (RFC 9457) with a stable `code`.

The only place where an exception becomes a status. Detail texts never carry a stack trace, SQL or a path.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import orjson
from starlette.responses import Response

from app.errors import Conflict, DuosceneError, Gone, Invalid, NotFound, Unavailable
from app.types import Json

MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 100  # a body of ten thousand wrong fields gets a short answer
Loc = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class FieldError:
    loc: Loc
    code: str
    detail: str


@dataclass
class HttpProblem(Exception):
    """An error that exists at the HTTP edge only: 400, 401, 403, 404, 405, 413, 415, 422, 429, 503."""

    status: int
    code: str
    detail: str
    errors: Sequence[FieldError] = ()
    members: Mapping[str, Json] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        document = {
            "type": f"urn:duoscene:problem:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            **self.members,
        }
        if self.errors:
            document["errors"] = [
                {"loc": list(error.loc), "code": error.code, "detail": error.detail}
                for error in self.errors[:MAX_ERRORS]
            ]
        return Response(encode(document), self.status, dict(self.headers), MEDIA_TYPE)


def encode(document: Any) -> bytes:
    """JSON bytes, even of text that came from a caller and holds lone surrogates."""
    try:
        return orjson.dumps(document)
    except TypeError:
        return orjson.dumps(_printable(document))


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_printable(key): _printable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_printable(item) for item in value]
    return value


def unprocessable(errors: Sequence[FieldError]) -> HttpProblem:
    """422 for one or more fields that do not fit."""
    first = errors[0]
    where = ".".join(str(part) for part in first.loc)
    detail = f"{where}: {first.detail}" if where else first.detail
    if len(errors) > 1:
        detail += f" (and {len(errors) - 1} more, see errors)"
    return HttpProblem(422, "invalid_request", detail, errors)


def problem_of(error: DuosceneError) -> HttpProblem:
    """The HTTP side of the exception tree. What has no place there is a fault of ours: 500, and the log knows more."""
    match error:
        case NotFound():
            return HttpProblem(404, error.code, error.detail)
        case Conflict():
            return HttpProblem(409, error.code, error.detail, members=error.members)
        case Gone():
            return HttpProblem(410, error.code, error.detail)
        case Invalid():
            return HttpProblem(422, error.code, error.detail, [FieldError(error.loc, error.code, error.detail)])
        case Unavailable():
            retry_after = {"Retry-After": str(max(1, error.retry_after_seconds))}
            return HttpProblem(503, error.code, error.detail, headers=retry_after)
        case _:
            return internal_error()


def internal_error() -> HttpProblem:
    return HttpProblem(
        500, "internal_error", "an unexpected error; it was logged with the X-Request-Id of this response"
    )
