"""Several slates of one page, chosen one after the other. Synchronous, on one immutable snapshot."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

from app.errors import Invalid
from app.serving.draft import Draft
from app.serving.live import LiveSnapshot
from app.serving.pipeline import explain_slate
from app.serving.rules import Asked


def without_shown(asked: Asked, live: LiveSnapshot, before: Sequence[Draft]) -> Asked:
    """No item of the slates before it on the page, pinned ones included."""
    shown = {live.catalogue.id_at(pick.row) for draft in before for pick in draft.standing()}
    if not shown:
        return asked
    return replace(asked, request=replace(asked.request, exclude_items=asked.request.exclude_items | shown))


def explain_page(drafts: Sequence[Draft]) -> None:
    """The slates that asked for reasons."""
    for draft in drafts:
        if draft.asked.request.reasons:
            explain_slate(draft)


def in_slate(error: Invalid, place: int) -> Invalid:
    """The error with its place on the page."""
    return Invalid(error.detail, code=error.code, loc=("slates", place, *error.loc))


@contextlib.contextmanager
def without_place() -> Iterator[None]:
    """For the request of a single slate, which knows no page."""
    try:
        yield
    except Invalid as error:
        loc = error.loc[2:] if error.loc[:1] == ("slates",) else error.loc
        raise Invalid(error.detail, code=error.code, loc=loc) from error
