"""Masks of filter clauses, remembered by what the clause says. One cache stands beside each set of columns, which never changes: when the
catalogue moves there are new columns with an empty cache, and nothing can be stale.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

from app.types import BoolArray

MAX_BYTES = 32 * 2**20  # of one catalogue's masks: 335 of 100,000 items
MAX_MASKS = 1_024


class MaskCache:
    """Least recently used first out. Shared by the threads that make slates."""

    def __init__(self, max_bytes: int = MAX_BYTES, max_masks: int = MAX_MASKS) -> None:
        self._masks: OrderedDict[Hashable, BoolArray] = OrderedDict()
        self._max_bytes, self._max_masks = max_bytes, max_masks
        self._bytes = 0
        self._lock = threading.Lock()
        self.hits = 0

    def get(self, key: Hashable, make: Callable[[], BoolArray]) -> BoolArray:
        """Read-only. Two threads that miss at once both make it."""
        with self._lock:
            mask = self._masks.get(key)
            if mask is not None:
                self._masks.move_to_end(key)
                self.hits += 1
                return mask
        mask = make()
        mask.flags.writeable = False
        with self._lock:
            if key not in self._masks:
                self._masks[key] = mask
                self._bytes += mask.nbytes
            while self._bytes > self._max_bytes or len(self._masks) > self._max_masks:
                self._bytes -= self._masks.popitem(last=False)[1].nbytes
        return mask

    def __len__(self) -> int:
        return len(self._masks)
