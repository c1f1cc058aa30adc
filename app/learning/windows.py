"""Training windows: each user's events cut into pieces of at most L, at other places every epoch.

A window is its first event and its size, 16 bytes however long; event numbers stand in memory for one batch at a time.
Shapes: E events, U users, W windows, B windows of a batch, L window length.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.learning.dataset import Interactions
from app.types import BoolArray, Int64Array

NOTHING = -1


@dataclass(frozen=True)
class Windows:
    """Runs of events of one user each: first_W, and how many size_W."""

    first_W: Int64Array
    size_W: Int64Array

    def __len__(self) -> int:
        return len(self.first_W)

    def where(self, chosen: BoolArray | NDArray[np.integer]) -> Windows:
        return Windows(self.first_W[chosen], self.size_W[chosen])

    def joined(self, other: Windows) -> Windows:
        return Windows(np.r_[self.first_W, other.first_W], np.r_[self.size_W, other.size_W])

    def holding(self, wanted_E: BoolArray) -> Windows:
        """Those in which some wanted event stands."""
        before_E1 = np.r_[0, np.cumsum(wanted_E)]
        return self.where(before_E1[self.first_W + self.size_W] > before_E1[self.first_W])

    def events(self) -> Int64Array:
        """Event numbers [W, L], NOTHING behind the shorter ones; L is two at least: one for a history."""
        columns_L = np.arange(max(2, self.size_W.max(initial=0)))
        return np.where(columns_L < self.size_W[:, None], self.first_W[:, None] + columns_L, NOTHING)


def windows(data: Interactions, length: int, rng: np.random.Generator) -> Windows:
    """Every event stands in exactly one window."""
    if not len(data):
        return Windows(np.empty(0, np.int64), np.empty(0, np.int64))
    offset_U = rng.integers(0, length, len(data.user_ids))
    place_E = np.arange(len(data)) - data.starts_U1[data.user_E]
    offset_U[np.diff(data.starts_U1) <= length] = 0  # what fits into one window is not cut
    number_E = (place_E + offset_U[data.user_E]) // length
    first_W = np.flatnonzero(np.r_[True, (np.diff(data.user_E) != 0) | (np.diff(number_E) != 0)])
    return Windows(first_W, np.diff(np.r_[first_W, len(data)]))


class Batches:
    """Windows of like length together (little padding), about num_events in each batch, the batches in random order.

    Counted in events, not windows: a step costs what its predictions cost, and users with short histories would otherwise make
    many small steps, each of which pays for the vectors of the whole catalogue.
    """

    def __init__(self, windows: Windows, num_events: int, rng: np.random.Generator) -> None:
        self._windows = windows
        order = np.argsort(windows.size_W + rng.random(len(windows)), kind="stable")
        before_W = np.cumsum(windows.size_W[order]) - windows.size_W[order]
        pieces = np.split(order, np.flatnonzero(np.diff(before_W // num_events)) + 1) if len(order) else []
        self._pieces = [pieces[n] for n in rng.permutation(len(pieces))]

    def __len__(self) -> int:
        return len(self._pieces)

    def __iter__(self) -> Iterator[Int64Array]:
        """Event numbers [B, L], see `Windows.events`."""
        return (self._windows.where(piece).events() for piece in self._pieces)
