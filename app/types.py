"""Small shared vocabulary: JSON, arrays, clocks. Imported by every step, imports none of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

JsonScalar = str | int | float | bool | None
Json = JsonScalar | list["Json"] | dict[str, "Json"]
Attributes = Mapping[str, Json]

Float32Array = NDArray[np.float32]
Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    return datetime.now(UTC)


class Progress(Protocol):
    """Where long work reports to. Raises `app.errors.Cancelled` when the work should stop."""

    def __call__(self, stage: str, done: float, note: str = "") -> None:
        """stage: a word or two. done: 0-1 of the stage. note: one log line, e.g. "epoch 3, loss 4.21"."""


def no_progress(stage: str, done: float, note: str = "") -> None:
    """For callers that watch nothing."""
