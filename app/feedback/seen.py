"""What counts as having been shown to somebody: the service's own slates, and what storefronts report beside them.

A storefront that reports the slate it just got repeats what the service has counted; one that shows it again later does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from ulid import ULID

from app.feedback.event import Event, Impression

SEEN_HALF_LIFE_SECONDS = 7 * 86_400.0
SEEN_DAYS = 56  # eight half-lives: what is older counts less than a two-hundredth
MAX_SEEN = 500  # items of one subject
SAME_SHOWING = timedelta(minutes=10)  # between the slate and the storefront's word that it was shown
NO_ACT = ("impression", "dislike", "cart_remove")


class Showing(NamedTuple):
    """Different items that somebody was shown at once."""

    item_ids: Sequence[str]
    at: datetime
    user_id: str | None
    session_id: str | None


def showing_of(event: Event) -> Showing | None:
    """None for an event that shows nothing new."""
    if event.type != "impression" or repeats_slate(event):
        return None
    return Showing((event.item_id,), event.occurred_at, event.user_id, event.session_id)


def showings_of(impressions: Iterable[Impression]) -> list[Showing]:
    return [Showing(shown.item_ids, shown.shown_at, shown.user_id, shown.session_id) for shown in impressions]


def repeats_slate(event: Event) -> bool:
    """The recommendation ids of the service say when the slate was made."""
    try:
        made_at = datetime.fromtimestamp(ULID.from_str(event.recommendation_id or "").timestamp, UTC)
        return event.occurred_at <= made_at + SAME_SHOWING
    except (ValueError, OverflowError):  # somebody else's id, or one of the year 10889
        return False


def act_of(kind: str) -> str:
    """What an event of a kind (see `taste_kind_of`) does to the state of its item: purchase, like, dislike, other, or "" for nothing."""
    if kind in ("purchase", "like", "dislike"):
        return kind
    if kind == "rating":
        return "like"
    return "" if kind in NO_ACT else "other"
