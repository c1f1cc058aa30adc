"""Memory that compiled functions work in, kept by each thread, so that what a request costs does not grow with the catalogue."""

from __future__ import annotations

import threading

import numpy as np

from app.types import BoolArray, Float32Array, Int32Array, Int64Array

# Sums by row, of the rows that were touched, of which a function counts how many there are. sums_X: zero but while it works; marked_X:
# likewise, True for what was touched; touched_X: the rows that were, as they came, with room for one more. Whoever adds to them empties them.
Sums = tuple[Float32Array, BoolArray, Int32Array]

_of_thread = threading.local()


def sums(name: str, size: int) -> Sums:
    """This thread's sums of that name, for `size` rows or more."""
    there: Sums | None = getattr(_of_thread, name, None)
    if there is None or len(there[0]) < size:
        there = np.zeros(size, np.float32), np.zeros(size, np.bool_), np.empty(size + 1, np.int32)
        setattr(_of_thread, name, there)
    return there


def places(size: int) -> Int32Array:
    """This thread's numbers by row, for `size` rows or more: zero but while a function works."""
    there: Int32Array | None = getattr(_of_thread, "places", None)
    if there is None or len(there) < size:
        there = _of_thread.places = np.zeros(size, np.int32)
    return there


def keys(size: int) -> Int64Array:
    """This thread's room for `size` keys of `selection` or more, overwritten by whoever asks next."""
    there: Int64Array | None = getattr(_of_thread, "keys", None)
    if there is None or len(there) < size:
        there = _of_thread.keys = np.empty(size, np.int64)
    return there
