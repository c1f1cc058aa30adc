"""What is known of a subject as changes come, and of a user and a session together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import NamedTuple

from app.feedback.state import MAX_HISTORY, History, HistoryEntry, Part

MAX_PURCHASES = 2_000
MAX_DISMISSED = 200
NOTE = "merged"  # beside a history: another, and what the two are together


class Folded(NamedTuple):
    """whole: with every change since it was packed, history as it came. part: within the limits of a state. Later changes go on top of
    `whole`, so that it does not matter how many come at once. Readers share both and change neither."""

    whole: Part
    part: Part


def merge_histories(histories: Iterable[Sequence[HistoryEntry]]) -> History:
    """By time, each event once, the newest MAX_HISTORY. Each of the histories is so already. Of a user and a session that are asked for
    together again and again the result is noted."""
    given = [history for history in histories if history]
    if len(given) == 1:
        return given[0] if isinstance(given[0], History) else History(given[0])
    first = given[0] if given else ()
    if len(given) > 2 or not isinstance(first, History):
        return newest_entries(chain.from_iterable(given))
    noted = first.notes.get(NOTE)
    if noted is None or noted[0] is not given[1]:
        noted = first.notes[NOTE] = given[1], newest_entries(chain.from_iterable(given))
    merged: History = noted[1]
    return merged


def newest_entries(entries: Iterable[HistoryEntry]) -> History:
    once = {entry.event_id: entry for entry in entries}
    return History(sorted(once.values(), key=attrgetter("occurred_at", "event_id"))[-MAX_HISTORY:])


def merge_greatest(parts: Iterable[Mapping[str, float]]) -> Mapping[str, float]:
    """The greatest figure of each item: the last purchase or dislike, or what the one subject saw that saw it more often. The only part
    that says anything is returned as it is."""
    given = [part for part in parts if part]
    if len(given) == 1:
        return given[0]
    merged = dict(given[0]) if given else {}
    for part in given[1:]:
        for item_id, figure in part.items():
            if figure > merged.get(item_id, -math.inf):
                merged[item_id] = figure
    return merged


def greatest(figures: Mapping[str, float], limit: int) -> Mapping[str, float]:
    """As they are where there are not too many."""
    if len(figures) <= limit:
        return figures
    return dict(sorted(figures.items(), key=lambda entry: -entry[1])[:limit])
