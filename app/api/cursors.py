"""Opaque cursors: where the next page of a listing starts."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TypeVar

from app.errors import Invalid

Row = TypeVar("Row")
MARK = "1:"  # version of the format


def encode_cursor(last_id: str) -> str:
    return base64.urlsafe_b64encode(f"{MARK}{last_id}".encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None) -> str | None:
    """The id after which the page starts. Raises Invalid."""
    if cursor is None:
        return None
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        last_id = base64.b64decode(padded, altchars=b"-_", validate=True).decode("utf-8")
    except (UnicodeError, binascii.Error) as error:
        raise _bad_cursor() from error
    if not last_id.startswith(MARK) or last_id == MARK or "\x00" in last_id:
        raise _bad_cursor()
    return last_id.removeprefix(MARK)


def _bad_cursor() -> Invalid:
    return Invalid(
        "not a cursor of this listing; take `next_cursor` as it was given", code="bad_cursor", loc=("cursor",)
    )


def cut_page(rows: Sequence[Row], limit: int, id_of: Callable[[Row], str]) -> tuple[Sequence[Row], str | None]:
    """rows: up to limit + 1 of them, the extra one only says that there is more. Returns the page and `next_cursor`."""
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], encode_cursor(id_of(rows[limit - 1]))


def page_of(
    rows: Sequence[Row], limit: int, cursor: str | None, id_of: Callable[[Row], str]
) -> tuple[Sequence[Row], str | None]:
    """A page of a short listing that is in memory, ordered by id."""
    after = decode_cursor(cursor)
    ordered = sorted(rows, key=id_of)
    start = 0 if after is None else sum(id_of(row) <= after for row in ordered)
    return cut_page(ordered[start : start + limit + 1], limit, id_of)
