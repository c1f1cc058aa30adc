"""Several slates of one page, chosen one after the other. Synchronous, on one immutable snapshot."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

from app.errors import Invalid
from app.serving.draft import Draft
from app.serving.live import LiveSnapshot
from app.serving.pipeline import draft_slate, explain_slate
from app.serving.rules import Asked


def draft_page(asked: Sequence[Asked], live: LiveSnapshot, before: Sequence[Draft]) -> list[Draft]:
    """No item of the slates `before` or of an earlier one, pinned ones included. Ends with the first slate that is
    open, because what completes it has to be fetched."""
    drafts: list[Draft] = []
    for one in asked:
        shown = {live.catalogue.id_at(pick.row) for draft in (*before, *drafts) for pick in draft.standing()}
        request = replace(one.request, exclude_items=one.request.exclude_items | shown)
        try:
            drafts.append(draft_slate(replace(one, request=request), live))
        except Invalid as error:
            raise in_slate(error, len(before) + len(drafts)) from error
        if drafts[-1].is_open:
            break
    return drafts


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
