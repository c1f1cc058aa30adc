"""What the sources know of this request beyond its shopper: rows for trends and pins, vectors for words. See `features.moment`."""

from __future__ import annotations

import numpy as np

from app.features.moment import Moment
from app.scenarios.scenario import Pin
from app.serving.catalogue_view import NOWHERE
from app.serving.live import LiveSnapshot
from app.serving.rules import NO_ROWS, Asked


def moment_of(asked: Asked, live: LiveSnapshot, *, with_seen: bool = False) -> Moment:
    """with_seen: and what the shopper was shown of late, where a ranker reads it."""
    seen = asked.state.seen if with_seen and asked.personal else {}
    places = live.catalogue.places(seen)
    row_K, times_K = np.asarray(places, np.int64), np.fromiter(seen.values(), np.float32, len(seen))
    if NOWHERE in places:
        row_K, times_K = row_K[row_K != NOWHERE], times_K[row_K != NOWHERE]
    trending_rows_K, trending_scores_K = asked.trend.rows(live.catalogue)
    pins = active_pins(asked)
    return Moment(
        trending_rows_K=trending_rows_K,
        trending_scores_K=trending_scores_K,
        pinned_rows_K=live.catalogue.rows(pin.item_id for pin in pins) if pins else NO_ROWS,
        query_T=asked.words.vector_T if asked.words else None,
        not_like_XT=asked.words.not_like_XT if asked.words else None,
        at=asked.now.timestamp(),
        seen_rows_K=row_K,
        seen_times_K=times_K,
        context=asked.request.context,
    )


def active_pins(asked: Asked) -> list[Pin]:
    """Those of the scenario that hold now, each item once, by position."""
    if not asked.scenario.pins:
        return []
    holding = [
        pin
        for pin in asked.scenario.pins
        if (pin.from_at is None or pin.from_at <= asked.now) and (pin.until_at is None or asked.now < pin.until_at)
    ]
    by_item = {pin.item_id: pin for pin in reversed(holding)}  # of several pins on one item the first
    return sorted(by_item.values(), key=lambda pin: pin.position)
