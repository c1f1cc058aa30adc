"""What shoppers did and were shown since their states were built: how it gets into Redis, and from there into what is read.

A change is a JSON text with a comma before it: a history entry (see `subject.dump_entry`), or unix seconds and the items shown then.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

import orjson

from app.feedback.event import Event
from app.feedback.seen import MAX_SEEN, SEEN_HALF_LIFE_SECONDS, Showing, act_of
from app.feedback.state import HistoryEntry, Part
from app.stores.redis import scripts
from app.stores.redis.client import Client
from app.stores.redis.part import MAX_DISMISSED, MAX_PURCHASES, Folded, greatest, newest_entries
from app.stores.redis.subject import Subject, dump_entry, subjects, to_entry

SUBJECTS_PER_SCRIPT = 200  # about a millisecond of Redis
MOST_BYTES = 8_192  # of changes; who gets more unread is forgotten, and read from Postgres when looked at
MOST_DOUBLINGS = 30.0  # by a clock that runs ahead
SHOWING = 2  # values of a change that is one
BETWEEN_ITEMS = "\x7f"  # no id holds control characters


def queue_changes(
    pipe: Client, prefix: str, events: Iterable[Event], showings: Iterable[Showing] = ()
) -> list[Subject]:
    """As further commands of a pipeline; the subjects that they are for. All that a script is to add is one JSON text, because this
    process takes longer to send an argument than Redis to act on it."""
    by_subject: dict[Subject, str] = defaultdict(str)
    for showing in showings:
        shown = orjson.dumps((round(showing.at.timestamp()), BETWEEN_ITEMS.join(showing.item_ids))).decode()
        for subject in subjects(showing.user_id, showing.session_id):
            by_subject[subject] += f",{shown}"
    for event in events:
        done = dump_entry(to_entry(event))
        for subject in subjects(event.user_id, event.session_id):
            by_subject[subject] += f",{done}"
    rows = [(subject.state_key(prefix), subject.generation_key(prefix), text) for subject, text in by_subject.items()]
    for start in range(0, len(rows), SUBJECTS_PER_SCRIPT):
        chunk = orjson.dumps(rows[start : start + SUBJECTS_PER_SCRIPT])
        pipe.eval(scripts.ADD, 0, scripts.GENERATION_TTL_SECONDS, MOST_BYTES, chunk)
    return list(by_subject)


def fold(before: Folded, changes: bytes, now: datetime) -> Folded:
    """changes: one after the other, as they came. now: of `before.whole.seen`."""
    whole, given = before.whole, orjson.loads(b"[%b]" % changes[1:])
    has_events = set(map(len, given)) != {SHOWING}
    history = [*whole.history] if has_events else []
    purchased, dismissed = (dict(whole.purchased), dict(whole.dismissed)) if has_events else ({}, {})
    seen = dict(whole.seen)
    this_moment, times_seen = half_lives(now), seen.get
    for change in given:
        if len(change) == SHOWING:
            at, items = change
            count = 2.0 ** min(at / SEEN_HALF_LIFE_SECONDS - this_moment, MOST_DOUBLINGS)
            for item_id in items.split(BETWEEN_ITEMS):
                seen[item_id] = times_seen(item_id, 0.0) + count
            continue
        event_id, item_id, kind, at = change
        history.append(HistoryEntry(item_id, kind, at, event_id))
        act = act_of(kind)
        if act == "purchase":
            purchased[item_id] = max(at, purchased.get(item_id, at))
        if act == "dislike":
            if not is_over(item_id, at, history):
                dismissed[item_id] = max(at, dismissed.get(item_id, at))
        elif act:
            seen.pop(item_id, None)
            if act == "like" and dismissed.get(item_id, math.inf) <= at:
                del dismissed[item_id]
    if not has_events:
        of_whole = Part(whole.history, whole.purchased, seen, whole.dismissed, whole.profile)
        if before.part is whole and len(seen) <= MAX_SEEN:
            return Folded(of_whole, of_whole)
        part = before.part
        of_part = Part(part.history, part.purchased, greatest(seen, MAX_SEEN), part.dismissed, part.profile)
        return Folded(of_whole, of_part)
    return Folded(
        Part(history, purchased, seen, dismissed, whole.profile),
        Part(
            newest_entries(history), greatest(purchased, MAX_PURCHASES), greatest(seen, MAX_SEEN),
            greatest(dismissed, MAX_DISMISSED), whole.profile,
        ),
    )  # fmt: skip


def is_over(item_id: str, disliked_at: float, history: Iterable[HistoryEntry]) -> bool:
    """A later liking may have come before a dislike."""
    return any(
        entry.item_id == item_id and entry.occurred_at >= disliked_at and act_of(entry.type) == "like"
        for entry in history
    )


def half_lives(at: datetime) -> float:
    """Of showings, since 1970."""
    return at.timestamp() / SEEN_HALF_LIFE_SECONDS
