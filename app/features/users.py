"""What a shopper did, folded into arrays: the same code for a live request, for training and for evaluation.

Shapes: B users, L history length, T text vector size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.types import Float32Array, Int32Array, Int64Array

HISTORY_LENGTH = 100  # events a batch holds; the towers look at the newest part of them (TowerConfig.length)
PAD = -1

# Row of each event type in the model's kind embedding; 0 is every type it does not know. Only appended to, never reordered.
KINDS: Mapping[str, int] = {
    "view": 1, "click": 2, "cart_add": 3, "cart_remove": 4, "purchase": 5, "like": 6, "dislike": 7, "rating": 8,
    "share": 9, "use": 10, "review": 11, "return": 12, "context": 13,
}  # fmt: skip
NUM_KINDS = 16


class HistoryItem(NamedTuple):
    row: int  # in the item space asked for
    kind: int  # see KINDS
    at: float  # unix seconds


@dataclass(frozen=True, slots=True)
class UserBatch:
    """history_BL: item rows, oldest first, padded with PAD on the right. kinds_BL: see KINDS. ages_BL: hours before now.

    profile_BT: encoded profile texts, zero rows where there is none.
    scenario_B: rows of the scenario table asked with (see `Snapshot`).
    """

    history_BL: Int32Array
    kinds_BL: Int32Array
    ages_BL: Float32Array
    profile_BT: Float32Array
    scenario_B: Int64Array

    def __len__(self) -> int:
        return len(self.history_BL)


def fold_users(
    histories: Sequence[Sequence[HistoryItem]],
    now: Sequence[float],
    profile_BT: Float32Array,
    scenario_B: NDArray[np.integer] | Sequence[int],
    length: int = HISTORY_LENGTH,
) -> UserBatch:
    """The last `length` entries of each history (given oldest first) as arrays. now: unix seconds per user."""
    shape = (len(histories), length)
    rows = np.full(shape, PAD, np.int32)
    kinds = np.zeros(shape, np.int32)
    ages = np.zeros(shape, np.float32)
    for b, history in enumerate(histories):
        tail = history[-length:]
        if tail:
            row, kind, at = zip(*tail, strict=True)
            rows[b, : len(tail)] = row
            kinds[b, : len(tail)] = kind
            ages[b, : len(tail)] = np.maximum(now[b] - np.asarray(at), 0.0) / 3600.0
    return UserBatch(rows, kinds, ages, profile_BT, np.asarray(scenario_B, np.int64))
