"""Fits user_cf: who may be a neighbour, the two bounded indices between shoppers and items, and how likeness is measured.

Shapes: E events, N items, U shoppers that may be neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import sparse

from app.learning.dataset import Interactions
from app.learning.inputs import Inputs
from app.learning.sources.judge import Judge
from app.retrieval.sources.profile import FOREVER
from app.retrieval.sources.source import Fitted, csr_arrays
from app.retrieval.sources.user_cf import UserCfSource
from app.types import Json

MAX_SHOPPERS = 50_000  # the ones seen last; with MAX_CHOSEN at most 80 MB of artifact
MAX_CHOSEN = 100  # newest items of each
MAX_POSTINGS = 1_000  # newest shoppers of each item: a request's cost is bounded by history x this
LEAST_CHOSEN = 2  # who chose one thing leads nowhere
GRID: Mapping[str, tuple[Json, ...]] = {
    "neighbours": (50, 200, 500),
    "decay": (0.98, 0.9, 0.7),
    "rarity": (0.0, 1.0, 2.0),
    "norm": (0.25, 0.5),
    "damping": (0.0, 0.25, 0.5),
    "half_life_days": (FOREVER, 7.0),
}
DEFAULTS: Mapping[str, Json] = {
    "neighbours": 200, "decay": 0.9, "rarity": 1.0, "norm": 0.5, "damping": 0.25, "half_life_days": FOREVER,
}  # fmt: skip


def tune(data: Interactions, inputs: Inputs, judge: Judge) -> Fitted:
    return judge.one_by_one(UserCfSource, fit(data, inputs, DEFAULTS), GRID)


def fit(data: Interactions, inputs: Inputs, parameters: Mapping[str, Json]) -> Fitted:
    chosen_UN = neighbours(data)
    postings_NU = sparse.csr_array(chosen_UN.T)  # the newest shopper has the first row, so the newest stand first
    item = np.repeat(np.arange(postings_NU.shape[0]), np.diff(postings_NU.indptr))
    kept = np.arange(postings_NU.nnz) - postings_NU.indptr[item] < MAX_POSTINGS
    bounded = sparse.csr_array(
        (postings_NU.data[kept], (item[kept], postings_NU.indices[kept])), shape=postings_NU.shape
    )
    counts_N = np.diff(postings_NU.indptr).astype(np.float32)
    arrays = {**csr_arrays("postings", bounded), **csr_arrays("chosen", chosen_UN), "counts": counts_N}
    return Fitted(parameters, arrays)


def neighbours(data: Interactions) -> sparse.csr_array:
    """Ones where a shopper chose an item: CSR float32 [U, N], the shopper seen last first."""
    keep_E = data.is_target_E & ~data.is_repeat_E
    before_E1 = np.r_[0, np.cumsum(keep_E)]
    left_E = before_E1[data.starts_U1[1:]][data.user_E] - before_E1[:-1]  # choices from this event on
    keep_E &= left_E <= MAX_CHOSEN
    counts_V = np.bincount(data.user_E[keep_E], minlength=len(data.user_ids))
    last_V = np.full(len(data.user_ids), -np.inf)
    np.maximum.at(last_V, data.user_E[keep_E], data.at_E[keep_E])
    able = np.flatnonzero(counts_V >= LEAST_CHOSEN)
    able = able[np.argsort(-last_V[able], kind="stable")][:MAX_SHOPPERS]
    row_V = np.full(len(data.user_ids), -1)
    row_V[able] = np.arange(len(able))
    keep_E &= row_V[data.user_E] >= 0
    ones = np.ones(int(keep_E.sum()), np.float32)
    shape = (len(able), len(data.item_ids))
    return sparse.csr_array((ones, (row_V[data.user_E[keep_E]], data.item_E[keep_E])), shape=shape)
