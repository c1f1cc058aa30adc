"""Request bodies: read with a limit while they stream in, parsed strictly, validated by a schema.

JSON here is RFC 8259 to the letter: UTF-8, no NaN, and a key written twice is an error, not a choice of the parser.
"""

from __future__ import annotations

import json
from typing import Any, Generic, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from app.api.problems import HttpProblem, unprocessable
from app.api.validation import field_errors

MIB = 1 << 20
DEFAULT_LIMIT = 1 * MIB
BULK_LIMIT = 16 * MIB
JSON = "application/json"
NDJSON = "application/x-ndjson"
MERGE_PATCH = "application/merge-patch+json"

BodyModel = TypeVar("BodyModel", bound=BaseModel)


class MalformedJson(ValueError):
    """detail says where; code is `malformed_json`, `invalid_utf8` or `duplicate_key`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def parse_json(raw: bytes) -> Any:
    """Raises MalformedJson, for nothing else may come out of it: not for deep nesting, not for huge numbers."""
    try:
        return _DECODER.decode(raw.decode("utf-8"))
    except MalformedJson:
        raise
    except UnicodeDecodeError as error:
        raise MalformedJson("invalid_utf8", f"the body is not UTF-8: bad byte at offset {error.start}") from error
    except json.JSONDecodeError as error:
        raise MalformedJson("malformed_json", f"the body is not JSON: {error.msg} at character {error.pos}") from error
    except RecursionError as error:
        raise MalformedJson("malformed_json", "the body is nested too deeply") from error
    except ValueError as error:  # int() of thousands of digits
        raise MalformedJson("malformed_json", "the body holds a number with too many digits") from error


def _object_of_unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise MalformedJson("duplicate_key", f"the key {twice[:100]!a} is written twice in one object")
    return members


def _refuse_constant(name: str) -> Any:
    raise MalformedJson("malformed_json", f"the body is not JSON: {name} is no JSON number")


_DECODER = json.JSONDecoder(object_pairs_hook=_object_of_unique_keys, parse_constant=_refuse_constant)


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """The whole body, at most `limit_bytes`; more is refused as soon as it is known, whatever the headers say."""
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced[:20]) > limit_bytes:
        raise _too_large(limit_bytes)
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit_bytes:
            raise _too_large(limit_bytes)
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(limit_bytes: int) -> HttpProblem:
    return HttpProblem(
        413, "body_too_large", f"the body is larger than {limit_bytes // MIB} MiB; send it in several requests"
    )


def media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def expect_media_type(request: Request, *accepted: str) -> str:
    """The request's media type, one of `accepted`. Raises 415."""
    given = media_type(request)
    if given not in accepted:
        said = f"the Content-Type {given[:100]!a}" if given else "no Content-Type"
        raise HttpProblem(415, "unsupported_media_type", f"{said} is not understood here; use {' or '.join(accepted)}")
    return given


async def read_json(request: Request, limit_bytes: int, *accepted: str) -> Any:
    expect_media_type(request, *accepted)
    return _json_of(await read_body(request, limit_bytes))


def _json_of(raw: bytes) -> Any:
    try:
        return parse_json(raw)
    except MalformedJson as error:
        raise HttpProblem(400, error.code, error.detail) from error


class JsonBody(Generic[BodyModel]):
    """A FastAPI dependency: the validated body. Runs after the key was checked, because it is declared after it.

    optional: an empty body stands for {}.
    """

    def __init__(self, model: type[BodyModel], *accepted: str, optional: bool = False) -> None:
        self._model = model
        self._accepted = accepted or (JSON,)
        self._optional = optional

    async def __call__(self, request: Request) -> BodyModel:
        if not self._optional:
            return self._validate(await read_json(request, DEFAULT_LIMIT, *self._accepted))
        raw = await read_body(request, DEFAULT_LIMIT)
        if not raw:
            return self._validate({})
        expect_media_type(request, *self._accepted)
        return self._validate(_json_of(raw))

    def _validate(self, value: Any) -> BodyModel:
        try:
            return self._model.model_validate(value)
        except ValidationError as error:
            raise unprocessable(field_errors(error.errors(include_url=False))) from error
