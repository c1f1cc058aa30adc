"""States stay unpacked for those who come again soon: taking one apart costs far more than seeing that it is still the same.

What Redis holds decides, not this memory: a state that is held byte for byte is taken as it is, of one that has grown the rest is folded
in, any other is unpacked anew. Profiles lie here in plain text, so nothing stays for long, whether anybody asks or not. What a user and a
session were together is noted beside the user and goes with them.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from app.feedback.state import Part
from app.privacy.encryption import TextCipher
from app.stores.redis.changes import fold
from app.stores.redis.packing import unpack
from app.stores.redis.part import Folded
from app.stores.redis.subject import Subject
from app.types import Clock

MAX_SUBJECTS = 1_000  # 30 KiB each with 50 events and 92 showings, 90 with 100 and 500, and the state itself
LIFE_SECONDS = 50.0  # after which a state is not used; showings are kept to a minute, so they need not decay meanwhile
SWEEP_SECONDS = 10.0  # between two looks for what is too old; with the life above nothing stays for more than a minute


class Unpacked(NamedTuple):
    """state: what it was read from. at: when it was unpacked, the moment of its showings."""

    state: bytes
    folded: Folded
    at: datetime

    @property
    def part(self) -> Part:
        return self.folded.part


class UnpackedStates:
    """Of one event loop, until `close`. cipher: of profile texts."""

    drops: int  # so far; see `read`

    def __init__(self, cipher: TextCipher, clock: Clock) -> None:
        self.drops = 0
        self._cipher = cipher
        self._clock = clock
        self._held: OrderedDict[Subject, Unpacked] = OrderedDict()  # the one used last at the end
        self._sweep: asyncio.TimerHandle | None = None
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, subject: Subject) -> bool:
        return subject in self._held

    def read(self, subject: Subject, state: bytes | None, now: datetime, drops: int) -> Unpacked | None:
        """state: of the subject as it is now; None where there is none. drops: before it was asked for; what was asked for before a drop
        is not held after it. Raises as `unpack`, and then holds nothing of the subject."""
        held = self._held.pop(subject, None)
        if state is None:
            return None
        if held is None or not is_fresh(held, now) or not state.startswith(held.state):
            held = Unpacked(state, unpack(state, now, self._cipher), now)
        elif len(state) > len(held.state):
            held = Unpacked(state, fold(held.folded, state[len(held.state) :], held.at), held.at)
        if drops == self.drops and not self._is_closed:
            self._hold(subject, held)
        return held

    def drop(self, subjects: Iterable[Subject]) -> None:
        self.drops += 1
        for subject in subjects:
            self._held.pop(subject, None)

    def clear(self) -> None:
        self.drops += 1
        self._held.clear()

    def close(self) -> None:
        self._is_closed = True
        self.clear()
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None

    def _hold(self, subject: Subject, held: Unpacked) -> None:
        self._held[subject] = held
        if len(self._held) > MAX_SUBJECTS:
            self._held.popitem(last=False)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._drop_old)

    def _drop_old(self) -> None:
        now = self._clock()
        for subject in [subject for subject, held in self._held.items() if not is_fresh(held, now)]:
            del self._held[subject]
        later = asyncio.get_running_loop().call_later
        self._sweep = later(SWEEP_SECONDS, self._drop_old) if self._held else None


def is_fresh(held: Unpacked, now: datetime) -> bool:
    """A clock that was set back makes everything old."""
    return 0.0 <= (now - held.at).total_seconds() < LIFE_SECONDS
