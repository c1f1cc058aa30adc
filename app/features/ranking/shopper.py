"""Who asks: the folded user and what the towers make of them. Shapes: B shoppers, L history, D dim."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

import numpy as np
from numba import types
from numpy.typing import NDArray

from app.compiled import compiled, reads, writes
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


@dataclass(frozen=True, slots=True, eq=False)
class Pasts:
    """Of several shoppers, oldest first, without their padding num_B long. ages_BL: hours before now. weight_BL: by liking and recency, 0
    behind the end."""

    rows_BL: Int32Array
    ages_BL: NDArray[np.float64]
    weight_BL: Float32Array
    num_B: Int64Array

    @classmethod
    def of(cls, shoppers: Sequence[Shopper]) -> Pasts:
        parts = []
        for _, of_batch in groupby(shoppers, lambda shopper: id(shopper.users)):
            together = list(of_batch)
            users, places = together[0].users, [shopper.place for shopper in together]
            parts.append((users.history_BL[places], users.kinds_BL[places], users.ages_BL[places]))
        rows_BL, kinds_BL, ages_BL = parts[0] if len(parts) == 1 else map(np.concatenate, zip(*parts, strict=True))
        weight_BL, num_B = np.zeros(rows_BL.shape, np.float32), np.empty(len(rows_BL), np.int64)
        _weigh(weight_BL, num_B, rows_BL, kinds_BL, LIKING, _fading(rows_BL.shape[1]))
        return cls(rows_BL, ages_BL, weight_BL, num_B)

    def newest(self, num: int, spare: int) -> tuple[Int64Array, Float32Array, Int64Array]:
        """Rows of the newest num of each, the newest last, and their weights [B, num]; how many these are [B]. Behind them stands `spare`,
        weight 0."""
        shape = (len(self.num_B), num)
        rows_BH, weight_BH = np.full(shape, spare, np.int64), np.zeros(shape, np.float32)
        there_B = np.minimum(self.num_B, num)
        _take_newest(rows_BH, weight_BH, self.rows_BL, self.weight_BL, self.num_B, there_B)
        return rows_BH, weight_BH, there_B

    def newest_ages(self) -> list[float]:
        """Hours; NaN of a shopper without a past."""
        return [float(self.ages_BL[b, num - 1]) if num else math.nan for b, num in enumerate(self.num_B.tolist())]


@compiled(types.void(writes("f4", 2), writes("i8"), reads("i4", 2), reads("i4", 2), reads("f4"), reads("f4")))
def _weigh(
    weight_BL: Float32Array, num_B: Int64Array, rows_BL: Int32Array, kinds_BL: Int32Array, liking: Float32Array,
    fading_L: Float32Array,
) -> None:  # fmt: skip
    for b in range(len(rows_BL)):
        num = 0
        while num < rows_BL.shape[1] and rows_BL[b, num] != PAD:
            num += 1
        num_B[b] = num
        for at in range(num):
            weight_BL[b, at] = fading_L[num - 1 - at] * liking[kinds_BL[b, at]]


@compiled(types.void(writes("i8", 2), writes("f4", 2), reads("i4", 2), reads("f4", 2), reads("i8"), reads("i8")))
def _take_newest(
    rows_BH: Int64Array, weight_BH: Float32Array, rows_BL: Int32Array, weight_BL: Float32Array, num_B: Int64Array,
    there_B: Int64Array,
) -> None:  # fmt: skip
    for b in range(len(num_B)):
        first = num_B[b] - there_B[b]
        for h in range(there_B[b]):
            rows_BH[b, h], weight_BH[b, h] = rows_BL[b, first + h], weight_BL[b, first + h]


@lru_cache(maxsize=16)
def _fading(num: int) -> Float32Array:
    """Weights of that many events by recency alone, newest first."""
    weight_L: Float32Array = DECAY ** np.arange(num, dtype=np.float32)
    weight_L.flags.writeable = False
    return weight_L
