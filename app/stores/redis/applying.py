"""What shoppers did, on its way to their states in Redis. All of a script's events are one JSON text, because this process takes longer
to send an argument than Redis to act on it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import orjson

from app.feedback.event import Event
from app.feedback.seen import act_of
from app.feedback.state import MAX_HISTORY
from app.stores.redis import scripts
from app.stores.redis.client import Client
from app.stores.redis.seen import SUBJECTS_PER_SCRIPT
from app.stores.redis.subject import Subject, dump_entry, subjects, to_entry

MAX_PURCHASES = 2_000
MAX_DISMISSED = 200
LIMITS = (scripts.GENERATION_TTL_SECONDS, MAX_HISTORY, MAX_PURCHASES, MAX_DISMISSED)
Applied = tuple[float, str, str, str]  # at (unix seconds), set member, item, what it does: see `scripts.APPLY`


def queue_events(pipe: Client, prefix: str, events: Iterable[Event]) -> list[Subject]:
    """As further commands of a pipeline; the subjects that they are for."""
    by_subject: dict[Subject, list[Applied]] = defaultdict(list)
    for event in events:
        entry = to_entry(event)
        applied = (entry.occurred_at, dump_entry(entry), event.item_id, act_of(event))
        for subject in subjects(event.user_id, event.session_id):
            by_subject[subject].append(applied)
    named = list(by_subject)
    for start in range(0, len(named), SUBJECTS_PER_SCRIPT):
        chunk = [(subject.keys(prefix), by_subject[subject]) for subject in named[start : start + SUBJECTS_PER_SCRIPT]]
        pipe.eval(scripts.APPLY, 0, *LIMITS, orjson.dumps(chunk))
    return named
