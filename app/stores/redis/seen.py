"""What a subject was shown, as a sorted set: the score is the binary logarithm of the decayed count, in half-lives since 1970.

So a count never has to be touched to fade, and one more showing adds to it whatever its age: log2(Σ 2^(at / half-life)).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from operator import itemgetter

import numpy as np
import orjson

from app.feedback.event import Impression
from app.feedback.seen import MAX_SEEN, SEEN_HALF_LIFE_SECONDS, Showing
from app.stores.redis import scripts
from app.stores.redis.client import Client
from app.stores.redis.subject import Subject, subjects

SUBJECTS_PER_SCRIPT = 200  # about a millisecond of Redis
of_seen = itemgetter(0, 3, 4)  # of a subject's keys: state mark, generation, seen


def score_of(at: datetime) -> float:
    return at.timestamp() / SEEN_HALF_LIFE_SECONDS


def counts_at(scores: Mapping[str, float], now: datetime) -> dict[str, float]:
    """Item -> decayed number of showings. A clock that runs ahead of ours does not make more than there were."""
    ages = np.fromiter(scores.values(), np.float64, len(scores)) - score_of(now)
    return dict(zip(scores, np.exp2(np.minimum(ages, 30.0)).tolist(), strict=True))


def showings_of(impressions: Iterable[Impression]) -> list[Showing]:
    return [Showing(shown.item_ids, shown.shown_at, shown.user_id, shown.session_id) for shown in impressions]


def queue_showings(pipe: Client, prefix: str, showings: Iterable[Showing]) -> list[Subject]:
    """As further commands of a pipeline; the subjects that they are for. All that a script is to add is one JSON text, because this
    process takes longer to send an argument than Redis to act on it."""
    by_subject: dict[Subject, list[tuple[float, Sequence[str]]]] = defaultdict(list)
    for showing in showings:
        shown = (score_of(showing.at), showing.item_ids)
        for subject in subjects(showing.user_id, showing.session_id):
            by_subject[subject].append(shown)
    named = list(by_subject)
    for start in range(0, len(named), SUBJECTS_PER_SCRIPT):
        chunk = named[start : start + SUBJECTS_PER_SCRIPT]
        keys = [key for subject in chunk for key in of_seen(subject.keys(prefix))]
        values = orjson.dumps([by_subject[subject] for subject in chunk])
        pipe.eval(scripts.SHOW, len(keys), *keys, scripts.GENERATION_TTL_SECONDS, MAX_SEEN, values)
    return named
