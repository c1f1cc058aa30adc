"""What a candidate source is, and what one has learned.

Shapes: B users, K candidates, N trained items, M delta items, R = N + M rows of the space, T text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from app.catalogue.item import Item
from app.features.users import UserBatch
from app.retrieval.index import Neighbours
from app.retrieval.space import ItemSpace
from app.types import BoolArray, Float32Array, Json


class CandidateSource(Protocol):
    name: str

    def find(self, users: UserBatch, space: ItemSpace, num: int, allowed_R: BoolArray | None) -> Neighbours:
        """rows int64 [B, K] with -1 tail and scores float32 [B, K] with -inf tail, best first; K <= num. Rows of the space.

        allowed_R is honoured before the cut.
        """


@runtime_checkable
class ReadsDelta(Protocol):
    """A source that can reach items training never saw."""

    name: str

    def of_delta(self, delta: Sequence[Item], text_MT: Float32Array) -> Any:
        """What the source wants to know of the delta items; it finds it again as `space.of_delta[name]`."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a source learned. parameters: kept in the manifest. arrays: files of the artifact, memory-mapped on load. graphs: saved
    search graphs over arrays, by the name of the array."""

    parameters: Mapping[str, Json] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    graphs: Mapping[str, Path] = field(default_factory=dict)

    def csr(self, name: str) -> sparse.csr_array:
        """The matrix that `csr_arrays(name, …)` took apart."""
        parts = tuple(self.arrays[f"{name}_{part}"] for part in ("data", "indices", "indptr"))
        return sparse.csr_array(parts, shape=tuple(self.arrays[f"{name}_shape"].tolist()), copy=False)

    def number(self, name: str, default: float | None = None) -> float:
        """default: of a parameter that older versions do not have."""
        value = self.parameters[name] if default is None else self.parameters.get(name, default)
        assert isinstance(value, int | float)
        return float(value)


def csr_arrays(name: str, matrix: sparse.csr_array) -> dict[str, NDArray[Any]]:
    indices, indptr = matrix.indices.astype(np.int32), matrix.indptr.astype(np.int64)
    if matrix.nnz < np.iinfo(np.int32).max:
        indptr = indptr.astype(np.int32)
    return {
        f"{name}_data": matrix.data.astype(np.float32),
        f"{name}_indices": indices,
        f"{name}_indptr": indptr,
        f"{name}_shape": np.asarray(matrix.shape, np.int64),
    }
