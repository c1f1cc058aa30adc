"""Which causes are worth an exact look: a cheap guess of what each item of the history brought, from what is at hand.

The user tower holds decayed means of the item vectors, the linear sources decayed sums over the history, so recency times
similarity is most of what they say. How often the guess holds the true first cause is measured in tests/bench/bench_reasons.py.
Shapes: X causes, K items of the slate, D dim, N trained items.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.retrieval.candidates import Candidates
from app.serving.live import LiveModel, LiveSnapshot
from app.serving.reasons.causes import Cause
from app.types import Float32Array, Int64Array

MAX_EXACT = 24  # causes looked at exactly for one slate
DECAY = 0.98  # weight of a cause against the next newer one


def shortlist(
    causes: Sequence[Cause], live: LiveSnapshot, found: Candidates, rows_K: Int64Array, num: int = MAX_EXACT
) -> list[Cause]:
    """At most num of the item causes (newest first), those that are first for some item before those that are second for one."""
    if len(causes) <= num or not len(rows_K):
        return list(causes[:num])
    assert live.model
    rows_X = np.asarray([live.history_row(cause.item_id) for cause in causes], np.int64)
    recency_X1 = (DECAY ** np.arange(len(causes), dtype=np.float32))[:, None]
    guess_XK = _guess(live.model, rows_X, rows_K, recency_X1, _parts(found, rows_K))
    place_XK = np.argsort(np.argsort(-guess_XK, axis=0, kind="stable"), axis=0, kind="stable")
    best_X = np.lexsort((-guess_XK.max(1), place_XK.min(1)))[:num]
    return [causes[x] for x in np.sort(best_X).tolist()]


def _guess(
    model: LiveModel, rows_X: Int64Array, rows_K: Int64Array, recency_X1: Float32Array, parts: dict[str, Float32Array]
) -> Float32Array:
    """float32 [X, K]: recency times similarity of cause and item, as a share of the item's best, weighted by the sources it is like.

    What no source here is like (neighbours, complements) is guessed as the texts are."""
    fitted = model.snapshot.fitted
    vectors_XD, vectors_KD = (model.space.take(rows.astype(np.int32)) for rows in (rows_X, rows_K))
    trained_X, trained_K = (model.space.trained_rows(rows.astype(np.int32)) for rows in (rows_X, rows_K))
    known_XK = (trained_X >= 0)[:, None] & (trained_K >= 0)[None]
    from_X, to_K = np.maximum(trained_X, 0), np.maximum(trained_K, 0)

    def relative(similarity_XK: Float32Array) -> Float32Array:
        positive_XK = np.maximum(similarity_XK, 0.0) * recency_X1
        share_XK: Float32Array = positive_XK / np.maximum(positive_XK.max(0, keepdims=True), 1e-9)
        return share_XK

    guess_XK = parts.pop("two_tower", 0.0) * relative(vectors_XD @ vectors_KD.T)
    if "item_cf" in parts and "item_cf" in fitted:
        weights_XK = fitted["item_cf"].csr("weights")[from_X][:, to_K].toarray()
        guess_XK = guess_XK + parts.pop("item_cf") * relative(np.where(known_XK, weights_XK, 0.0))
    if "matrix_factorisation" in parts and "matrix_factorisation" in fitted:
        factors_NF = fitted["matrix_factorisation"].arrays["factors"]
        alike_XK = np.where(known_XK, factors_NF[from_X] @ factors_NF[to_K].T, 0.0)
        guess_XK = guess_XK + parts.pop("matrix_factorisation") * relative(alike_XK)
    if parts and "content" in fitted:
        texts_NP = fitted["content"].arrays["vectors"]
        alike_XK = np.where(known_XK, texts_NP[from_X] @ texts_NP[to_K].T, 0.0)
        guess_XK = guess_XK + sum(parts.values()) * relative(alike_XK)
    return guess_XK.astype(np.float32)


def _parts(found: Candidates, rows_K: Int64Array) -> dict[str, Float32Array]:
    """Source -> float32 [K]: what it adds to the score of each item; nothing for those that are no candidates."""
    place_of = {row: place for place, row in enumerate(found.rows_C.tolist())}
    places = np.asarray([place_of.get(row, -1) for row in rows_K.tolist()], np.int64)
    return {name: np.where(places >= 0, part_C[np.maximum(places, 0)], 0.0) for name, part_C in found.parts.items()}
