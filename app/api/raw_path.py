"""Routing by the path as it was sent: an id is one percent-encoded segment, so `a%2Fsimilar` is the item `a/similar`.

Servers hand over a decoded `path` beside `raw_path`; routes match the raw one and each parameter is decoded here.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from pydantic_core import PydanticCustomError
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.problems import HttpProblem

BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


class RawPathMiddleware:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            raw: bytes | None = scope.get("raw_path")
            if raw is not None:
                scope["path"] = raw.partition(b"?")[0].decode("latin-1")
            query: bytes = scope["query_string"]
            if b"%" in query or not query.isascii():
                _check_query(query)
        await self.app(scope, receive, send)


def _check_query(query: bytes) -> None:
    try:
        decode_segment(query.decode("ascii"))
    except (PydanticCustomError, UnicodeDecodeError) as error:
        raise HttpProblem(
            400, "invalid_query", "the query string is not percent-encoded UTF-8; encode every value"
        ) from error


def decode_segment(segment: str) -> str:
    """One path segment as text. Strict: a broken escape or bytes that are no UTF-8 are errors, never U+FFFD."""
    if "%" not in segment and segment.isascii():
        return segment
    if BAD_ESCAPE.search(segment) or not segment.isascii():
        raise PydanticCustomError("bad_escape", "the path segment is not percent-encoded: a '%' needs two hex digits")
    try:
        return unquote_to_bytes(segment).decode("utf-8")
    except UnicodeDecodeError as error:
        raise PydanticCustomError("invalid_utf8", "the path segment is not UTF-8 once decoded") from error
