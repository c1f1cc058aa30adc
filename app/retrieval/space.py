"""All items that can be asked for now: N trained rows, and behind them a delta of M new or changed ones.

Immutable; a catalogue change makes a new one that shares the trained part. Shapes: N trained, M delta, R = N + M rows, D dim.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.features.ranking.facts import ItemFacts
from app.features.users import PAD
from app.retrieval.index import VectorIndex
from app.types import Float32Array, Int64Array

Integer = TypeVar("Integer", bound=np.integer[Any])


@dataclass(frozen=True)
class ItemSpace:
    """vectors_MD: unit rows of the delta. trained_M: trained row that a delta row replaces, -1 for a new item.

    published_R: unix seconds, for the `new` source; -inf where unknown. of_delta: source -> what it knows of the delta items. facts: of
    all rows, for the ranker.
    """

    index: VectorIndex
    vectors_MD: Float32Array
    trained_M: Int64Array
    published_R: np.ndarray[tuple[int], np.dtype[np.float64]]
    of_delta: Mapping[str, Any] = field(default_factory=dict)
    facts: ItemFacts | None = None

    def __len__(self) -> int:
        return len(self.index) + len(self.vectors_MD)

    @cached_property
    def _trained_ND(self) -> Float32Array:
        """A plain array, although it may be memory-mapped: numpy takes its time over each piece of a `memmap`."""
        return np.asarray(self.index.vectors_ND)

    def take(self, rows: NDArray[np.integer]) -> Float32Array:
        """Vectors of rows of any shape, zero for PAD: float32 [..., D]."""
        N = len(self.index)
        if not rows.size or (rows.min() > PAD and rows.max() < N):
            return self._trained_ND.take(rows, 0)
        out = self._trained_ND[np.where((rows == PAD) | (rows >= N), 0, rows)]
        in_delta = rows >= N
        if in_delta.any():
            out[in_delta] = self.vectors_MD[rows[in_delta] - N]
        out[rows == PAD] = 0.0
        return out

    @cached_property
    def current_N(self) -> Int64Array | None:
        """Where each trained row lives now; None while nothing has been replaced."""
        replaced = np.flatnonzero(self.trained_M >= 0)
        if not len(replaced):
            return None
        current_N = np.arange(len(self.index))
        current_N[self.trained_M[replaced]] = len(self.index) + replaced
        return current_N

    def trained_rows(self, rows: NDArray[Integer]) -> NDArray[Integer]:
        """The trained row behind each row (a replaced item keeps its history), PAD for new items and PAD."""
        N = len(self.index)
        if not len(self.trained_M):
            return rows
        in_delta = rows >= N
        trained = rows.copy()
        trained[in_delta] = self.trained_M[rows[in_delta] - N]
        return trained

    @cached_property
    def newest_R(self) -> Int64Array:
        """Rows by time of publication, newest first."""
        return np.argsort(-self.published_R, kind="stable")
