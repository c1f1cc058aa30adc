"""Loops over candidates that numpy would need dozens of calls for, compiled by numba.

    @compiled(types.float32(reads("f4"), types.intp))
    def ...

A function is compiled for the types it names when its module is imported, once for each machine: the result is kept beside the
module, or in the user's cache folder where that cannot be written to; where neither can, every process compiles anew. No function
here may be asked to hold the interpreter's lock, so that other requests go on meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from numba import njit, types

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(*signatures: Any, any_order: bool = False) -> Callable[[Function], Function]:
    """Division by zero gives infinities, as in numpy; an index out of range is not noticed. any_order: sums may be added up as the processor
    likes, several at once."""
    fastmath = {"reassoc", "contract"} if any_order else False
    decorate: Any = njit(list(signatures), cache=_can_keep(), nogil=True, error_model="numpy", fastmath=fastmath)
    return decorate  # type: ignore[no-any-return]


def reads(dtype: str, ndim: int = 1) -> Any:
    """A C-contiguous array that is only read, memory-mapped or not. dtype: as numpy writes it: "f4", "i8"."""
    return types.Array(_SCALARS[dtype], ndim, "C", readonly=True)


def writes(dtype: str, ndim: int = 1) -> Any:
    """A C-contiguous array that is written to."""
    return types.Array(_SCALARS[dtype], ndim, "C")


def several(*kinds: Any) -> Any:
    """A tuple of these, for arguments that belong together."""
    return types.Tuple(kinds)  # type: ignore[no-untyped-call]


def _can_keep() -> bool:
    beside, of_user = Path(__file__).parent, os.path.expanduser("~")  # as it stands for a user whom nobody knows
    return "NUMBA_CACHE_DIR" in os.environ or any(os.access(place, os.W_OK) for place in (beside, of_user))


_SCALARS: Mapping[str, Any] = {
    "f4": types.float32, "f8": types.float64, "i4": types.int32, "i8": types.int64, "i2": types.int16, "i1": types.int8, "u1": types.uint8, "b1": types.boolean,
}  # fmt: skip
