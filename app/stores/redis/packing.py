"""The state of a subject as the bytes of one key: what was built, deflated, then the changes since, as texts.

Four bytes say how long the deflated part is. Writers append, which costs Redis next to nothing; who reads folds the changes in, and writes
the state anew when they have become many. Deflated, numbers and profile come first as JSON, then all ids, column by column and separated
by NUL, which no id holds.
"""

from __future__ import annotations

import dataclasses
import json
import math
import zlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import accumulate, pairwise

import numpy as np
import orjson

from app.catalogue.item import Consent, User
from app.feedback.state import History, HistoryEntry, Part
from app.privacy.encryption import StoredText, TextCipher
from app.stores.redis.changes import MOST_DOUBLINGS, fold, half_lives
from app.stores.redis.part import Folded

LENGTH_BYTES = 4
LEVEL = 4  # of zlib: a fiftieth longer than the 6 that is usual, a third faster
LONG_BYTES = 4_096  # of changes, about 20 slates: from here on a reader packs anew
TICKS = 10_000  # of a half-life, a minute each: how exactly showings are kept
FADED = 1e-300  # showings that count nothing any more
MICROSECONDS = 1_000_000
UNKNOWN = User("")
FIELDS = [field.name for field in dataclasses.fields(User) if field.name != "user_id"]


def pack(part: Part, now: datetime, cipher: TextCipher) -> bytes:
    """now: of `part.seen`."""
    history = part.history
    counts = np.fromiter(part.seen.values(), np.float64, len(part.seen))
    seen_at = np.log2(np.maximum(counts, FADED)) + half_lives(now)
    numbers = (
        squeeze(round(entry.occurred_at * MICROSECONDS) for entry in history),
        squeeze(round(at * MICROSECONDS) for at in part.purchased.values()),
        squeeze(round(at * MICROSECONDS) for at in part.dismissed.values()),
        squeeze(np.rint(seen_at * TICKS).astype(np.int64).tolist()),
    )
    ids = [entry.event_id for entry in history], [entry.item_id for entry in history], [entry.type for entry in history]
    columns = [*ids, part.purchased, part.dismissed, part.seen]
    head = orjson.dumps(numbers).decode(), dump_profile(part.profile, cipher)
    deflated = zlib.compress("\0".join([*head, *(name for column in columns for name in column)]).encode(), LEVEL)
    return len(deflated).to_bytes(LENGTH_BYTES, "little") + deflated


def unpack(state: bytes, now: datetime, cipher: TextCipher) -> Folded:
    """Changes folded in, showings decayed as of now. Raises Unavailable for a profile text whose key is missing."""
    end = LENGTH_BYTES + int.from_bytes(state[:LENGTH_BYTES], "little")
    numbers, profile, *names = zlib.decompress(state[LENGTH_BYTES:end]).decode().split("\0")
    times, bought, disliked, seen_at = orjson.loads(numbers)
    history_at, bought_at, disliked_at = seconds(times), seconds(bought), seconds(disliked)
    H, B, D = len(history_at), len(bought_at), len(disliked_at)
    columns = names[H : 2 * H], names[2 * H : 3 * H], history_at, names[:H]
    make = tuple.__new__  # what a named tuple's own constructor calls, by a detour that costs as much again
    rest = names[3 * H :]
    part = Part(
        history=History([make(HistoryEntry, entry) for entry in zip(*columns, strict=True)]),
        purchased=dict(zip(rest[:B], bought_at, strict=True)),
        dismissed=dict(zip(rest[B : B + D], disliked_at, strict=True)),
        seen=dict(zip(rest[B + D :], counts_at(seen_at, now), strict=True)),
        profile=load_profile(profile, cipher),
    )
    packed = Folded(part, part)
    return fold(packed, state[end:], now) if len(state) > end else packed


def is_long(state: bytes) -> bool:
    return len(state) > LENGTH_BYTES + int.from_bytes(state[:LENGTH_BYTES], "little") + LONG_BYTES


def squeeze(values: Iterable[int]) -> list[int]:
    """Their common divisor, and the first and the differences divided by it: times of whole seconds take no more than seconds do."""
    steps = [after - before for before, after in pairwise((0, *values))]
    unit = math.gcd(*steps) or 1
    return [unit, *(step // unit for step in steps)]


def seconds(microseconds: Sequence[int]) -> list[float]:
    """microseconds: squeezed. As `datetime.timestamp` gives them, to the bit."""
    unit, *steps = microseconds
    return [unit * total / MICROSECONDS for total in accumulate(steps)]


def counts_at(seen_at: Sequence[int], now: datetime) -> list[float]:
    """seen_at: log2 of decayed counts, in ticks, squeezed. A clock that runs ahead of ours does not make more than there were."""
    unit, *steps = seen_at
    if not steps:  # whoever was shown nothing before the changes; arrays cost as much for none as for many
        return []
    ages = np.cumsum(steps, dtype=np.float64) * (unit / TICKS) - half_lives(now)
    counts: list[float] = np.exp2(np.minimum(ages, MOST_DOUBLINGS)).tolist()
    return counts


def dump_profile(user: User | None, cipher: TextCipher) -> str:
    """Only what differs from a user of whom nothing is known."""
    if user is None:
        return ""
    values = {name: value for name in FIELDS if (value := getattr(user, name)) != getattr(UNKNOWN, name)}
    if user.text is not None:
        stored = cipher.encrypt(user.text)
        values |= {"text": stored.text, "text_key": stored.key}
    if "consent" in values:
        values["consent"] = dataclasses.asdict(user.consent)
    return json.dumps({"user_id": user.user_id, **values}, default=datetime.isoformat, separators=(",", ":"))


def load_profile(data: str, cipher: TextCipher) -> User | None:
    """Raises Unavailable for a text whose key is missing."""
    if not data:
        return None
    values = json.loads(data)
    if "text" in values:
        values["text"] = cipher.decrypt(StoredText(values["text"], values.pop("text_key")))
    if "tags" in values:
        values["tags"] = tuple(values["tags"])
    if "consent" in values:
        values["consent"] = Consent(**values["consent"])
    if "created_at" in values:
        values["created_at"] = datetime.fromisoformat(values["created_at"])
    return User(**values)
