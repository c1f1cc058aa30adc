"""What a subject was shown, as a sorted set: the score is the binary logarithm of the decayed count, in half-lives since 1970.

So a count never has to be touched to fade, and one more showing adds to it whatever its age: log2(Σ 2^(at / half-life)).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from app.feedback.event import Impression
from app.feedback.seen import SEEN_HALF_LIFE_SECONDS, Showing


def score_of(at: datetime) -> float:
    return at.timestamp() / SEEN_HALF_LIFE_SECONDS


def counts_at(scores: Mapping[str, float], now: datetime) -> dict[str, float]:
    """Item -> decayed number of showings. A clock that runs ahead of ours does not make more than there were."""
    at = score_of(now)
    return {item_id: 2.0 ** min(score - at, 30.0) for item_id, score in scores.items()}


def showings_of(impressions: Iterable[Impression]) -> list[Showing]:
    return [
        Showing(item_id, shown.shown_at, shown.user_id, shown.session_id)
        for shown in impressions
        for item_id in shown.item_ids
    ]
