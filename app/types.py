"""Small shared vocabulary: JSON, arrays, clocks. Imported by every step, imports none of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

JsonScalar = str | int | float | bool | None
Json = JsonScalar | list["Json"] | dict[str, "Json"]
Attributes = Mapping[str, Json]

Float32Array = NDArray[np.float32]
Int16Array = NDArray[np.int16]
Int32Array = NDArray[np.int32]
UInt8Array = NDArray[np.uint8]
Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

Clock = Callable[[], datetime]
RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def utc_now() -> datetime:
    return datetime.now(UTC)


def time_of(text: str) -> datetime | None:
    """As UTC. None: not in the form of RFC 3339, or no moment of the calendar."""
    if not RFC_3339.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


class Progress(Protocol):
    """Where long work reports to. Raises `app.errors.Cancelled` when the work should stop."""

    def __call__(self, stage: str, done: float, note: str = "") -> None:
        """stage: a word or two. done: 0-1 of the stage. note: one log line, e.g. "epoch 3, loss 4.21"."""


def no_progress(stage: str, done: float, note: str = "") -> None:
    """For callers that watch nothing."""
