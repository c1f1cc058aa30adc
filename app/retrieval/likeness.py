"""How alike items are, by what they say (text vectors) and by who wants them (tower vectors), as one inner product.

Shapes: C items, D tower dim, P text dim of the content source, V = D + P.
"""

from __future__ import annotations

import numpy as np

from app.retrieval.snapshot import Snapshot
from app.retrieval.space import ItemSpace
from app.types import Float32Array, Int64Array

TEXT = "content"  # the source that keeps text vectors


def likeness_vectors(snapshot: Snapshot, space: ItemSpace, rows_C: Int64Array) -> Float32Array:
    """Unit rows float32 [C, V]: text ⊕ tower, so that an inner product is the mean of both cosines. An item without a text, or a
    snapshot without the content source, goes by the tower alone; one whose vectors are no numbers is like nothing (zero)."""
    joined_CV = np.hstack([space.take(rows_C.astype(np.int32)), text_vectors(snapshot, space, rows_C)])
    return unit(joined_CV)


def text_vectors(snapshot: Snapshot, space: ItemSpace, rows_C: Int64Array) -> Float32Array:
    """Unit rows float32 [C, P], zero for an item without a text; P is 0 where the snapshot keeps none."""
    fitted = snapshot.fitted.get(TEXT)
    if fitted is None:
        return np.zeros((len(rows_C), 0), np.float32)
    vectors_NP, N = fitted.arrays["vectors"], len(space.index)
    out_CP: Float32Array = np.array(vectors_NP[np.minimum(rows_C, N - 1)], np.float32)
    in_delta = rows_C >= N
    if in_delta.any():
        out_CP[in_delta] = space.of_delta[TEXT][rows_C[in_delta] - N]
    return zero_where_broken(out_CP, out_CP.sum(1))


def unit(vectors_CV: Float32Array) -> Float32Array:
    norm_C1 = np.linalg.norm(vectors_CV, axis=1, keepdims=True)
    unit_CV: Float32Array = (vectors_CV / np.maximum(norm_C1, 1e-9)).astype(np.float32, copy=False)
    return zero_where_broken(unit_CV, norm_C1[:, 0])


def zero_where_broken(vectors_CV: Float32Array, measure_C: Float32Array) -> Float32Array:
    """In place, the rows whose measure is no number: NaN would spread from one item to the whole slate."""
    broken_C = ~np.isfinite(measure_C)
    if broken_C.any():
        vectors_CV[broken_C] = 0.0
    return vectors_CV
