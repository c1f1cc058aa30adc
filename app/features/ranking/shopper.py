"""Who asks: the folded user and what the towers make of them. Shapes: L history, D dim."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from app.features.moment import Moment
from app.features.users import KINDS, NUM_KINDS, PAD, UserBatch
from app.types import Float32Array, Int32Array, Int64Array

DECAY = 0.97  # weight of an event against the next newer one, in what the shopper prefers
LIKING: Float32Array = np.ones(NUM_KINDS, np.float32)
for _kind, _weight in {
    "view": 0.5, "cart_add": 2.0, "purchase": 3.0, "like": 2.0, "share": 2.0, "dislike": 0.0, "cart_remove": 0.0, "return": 0.0,
}.items():  # fmt: skip
    LIKING[KINDS[_kind]] = _weight


@dataclass(frozen=True, slots=True, eq=False)
class Shopper:
    """One user of a batch. towers_2D: the unit vector of the tower that answers in the scenario, and that of the pooled one (the whole
    shop's); None where the snapshot has no use for them."""

    users: UserBatch
    place: int
    towers_2D: Float32Array | None = None

    @property
    def moment(self) -> Moment:
        return self.users.moments()[self.place]

    @property
    def is_cold(self) -> bool:
        return bool(self.users.history_BL[self.place, 0] == PAD)

    def past(self) -> Past:
        """Without the padding."""
        row_L = self.users.history_BL[self.place]
        num = int(np.count_nonzero(row_L != PAD))
        kinds_L = self.users.kinds_BL[self.place, :num]
        weight_L = _fading(num) * LIKING[kinds_L]
        return Past(row_L[:num], kinds_L, self.users.ages_BL[self.place, :num], weight_L)


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """Oldest first. ages_L: hours before now. weight_L: by liking and recency."""

    rows_L: Int32Array
    kinds_L: Int32Array
    ages_L: NDArray[np.float64]
    weight_L: Float32Array

    def __len__(self) -> int:
        return len(self.rows_L)

    def newest(self, num: int) -> Int64Array:
        """Rows, the newest last."""
        return self.rows_L[-num:].astype(np.int64)


@lru_cache(maxsize=128)
def _fading(num: int) -> Float32Array:
    """Weights of that many events by recency alone, oldest first."""
    weight_L: Float32Array = DECAY ** np.arange(num - 1, -1, -1, dtype=np.float32)
    weight_L.flags.writeable = False
    return weight_L
