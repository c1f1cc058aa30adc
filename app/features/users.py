"""What a shopper did, folded into arrays: the same code for a live request, for training and for evaluation.

Shapes: B users, L history length, T text vector size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from app.compiled import compiled, reads, writes
from app.features.moment import NO_MOMENT, Moment
from app.types import Float32Array, Int32Array, Int64Array

HISTORY_LENGTH = 100  # events a batch holds; the towers look at the newest part of them (TowerConfig.length)
PAD = -1
SECONDS_PER_HOUR = 3_600.0

# Row of each event type in the model's kind embedding; 0 is every type it does not know. Only appended to, never reordered.
KINDS: Mapping[str, int] = {
    "view": 1, "click": 2, "cart_add": 3, "cart_remove": 4, "purchase": 5, "like": 6, "dislike": 7, "rating": 8,
    "share": 9, "use": 10, "review": 11, "return": 12, "context": 13,
}  # fmt: skip
NUM_KINDS = 16


# Of several kinds in a run on one item, the last in this order stands for the run. STRENGTH: kind -> place, KIND_OF: back.
_BY_STRENGTH = (
    "view", "context", "click", "use", "review", "rating", "share", "cart_remove", "cart_add", "like", "return",
    "purchase", "dislike",
)  # fmt: skip
KIND_OF = np.asarray([0, *(KINDS[name] for name in _BY_STRENGTH)], np.int32)
STRENGTH = np.zeros(NUM_KINDS, np.int32)
STRENGTH[KIND_OF] = np.arange(len(KIND_OF))


class HistoryItem(NamedTuple):
    row: int  # in the item space asked for
    kind: int  # see KINDS
    at: float  # unix seconds


@dataclass(frozen=True, slots=True)
class UserBatch:
    """history_BL: item rows, oldest first, padded with PAD on the right. kinds_BL: see KINDS. ages_BL: hours before now.

    profile_BT: encoded profile texts, zero rows where there is none.
    scenario_B: rows of the scenario table asked with (see `Snapshot`). moment_B: what is known beyond the user; empty: of nobody.
    """

    history_BL: Int32Array
    kinds_BL: Int32Array
    ages_BL: NDArray[np.float64]  # a gap between old events is a small difference of these
    profile_BT: Float32Array
    scenario_B: Int64Array
    moment_B: tuple[Moment, ...] = ()

    def __len__(self) -> int:
        return len(self.history_BL)

    def take(self, places: Int64Array) -> UserBatch:
        """The users at these places."""
        return UserBatch(
            self.history_BL[places], self.kinds_BL[places], self.ages_BL[places], self.profile_BT[places],
            self.scenario_B[places], tuple(self.moment_B[b] for b in places.tolist()) if self.moment_B else (),
        )  # fmt: skip

    def moments(self) -> Sequence[Moment]:
        return self.moment_B or (NO_MOMENT,) * len(self)


def fold_users(
    histories: Sequence[Sequence[HistoryItem]],
    now: Sequence[float],
    profile_BT: Float32Array,
    scenario_B: NDArray[np.integer] | Sequence[int],
    length: int = HISTORY_LENGTH,
    moments: Sequence[Moment] = (),
) -> UserBatch:
    """The last `length` entries of each history (given oldest first) as arrays, runs on one item collapsed.

    now: unix seconds per user.
    """
    tails = [history[-length:] for history in histories]
    starts_B1 = np.cumsum([0, *map(len, tails)])
    entries = [entry for tail in tails for entry in tail]
    row_E, kind_E, at_E = zip(*entries, strict=True) if entries else ((), (), ())
    return fold_events(
        np.asarray(row_E, np.int64), np.asarray(kind_E, np.int64), np.asarray(at_E, np.float64), starts_B1, now, profile_BT,
        scenario_B, length, moments,
    )  # fmt: skip


def fold_events(
    row_E: Int64Array, kind_E: Int64Array, at_E: NDArray[np.float64], starts_B1: Int64Array, now: Sequence[float],
    profile_BT: Float32Array, scenario_B: NDArray[np.integer] | Sequence[int], length: int = HISTORY_LENGTH,
    moments: Sequence[Moment] = (),
) -> UserBatch:  # fmt: skip
    """The same of events in columns, user after user: those of user b begin at starts_B1[b]. E events."""
    shape = (len(starts_B1) - 1, length)
    rows_BL, kinds_BL, ages_BL = np.full(shape, PAD, np.int32), np.zeros(shape, np.int32), np.zeros(shape)
    _fold(rows_BL, kinds_BL, ages_BL, row_E, kind_E, at_E, starts_B1, np.asarray(now, np.float64))
    return UserBatch(rows_BL, kinds_BL, ages_BL, profile_BT, np.asarray(scenario_B, np.int64), tuple(moments))


@compiled(
    types.void(
        writes("i4", 2),
        writes("i4", 2),
        writes("f8", 2),
        reads("i8"),
        reads("i8"),
        reads("f8"),
        reads("i8"),
        reads("f8"),
    )
)
def _fold(
    rows_BL: Int32Array, kinds_BL: Int32Array, ages_BL: NDArray[np.float64], row_E: Int64Array, kind_E: Int64Array,
    at_E: NDArray[np.float64], starts_B1: Int64Array, now_B: NDArray[np.float64],
) -> None:  # fmt: skip
    """Runs as `collapse_runs` counts them, of each user's newest events."""
    for b in range(len(now_B)):
        place = -1
        for event in range(max(starts_B1[b], starts_B1[b + 1] - rows_BL.shape[1]), starts_B1[b + 1]):
            if place < 0 or rows_BL[b, place] != row_E[event]:
                place += 1
                rows_BL[b, place] = row_E[event]
            if STRENGTH[kind_E[event]] >= STRENGTH[kinds_BL[b, place]]:
                kinds_BL[b, place] = KIND_OF[STRENGTH[kind_E[event]]]
            ages_BL[b, place] = max(now_B[b] - at_E[event], 0.0) / SECONDS_PER_HOUR


def collapse_runs(
    item_E: NDArray[np.integer], kind_E: NDArray[np.integer], user_E: NDArray[np.integer] | None = None
) -> tuple[Int64Array, Int32Array]:
    """Consecutive events on one item (view, click, cart, purchase) count once, with the strongest kind and the last time.

    Returns the place of the last event of each run [R] and the kinds [R].
    """
    if not len(item_E):
        return np.empty(0, np.int64), np.empty(0, np.int32)
    changes = item_E[1:] != item_E[:-1]
    if user_E is not None:
        changes |= user_E[1:] != user_E[:-1]
    last = np.r_[np.flatnonzero(changes), len(item_E) - 1]
    first = np.r_[0, last[:-1] + 1]
    return last, KIND_OF[np.maximum.reduceat(STRENGTH[kind_E], first)]
