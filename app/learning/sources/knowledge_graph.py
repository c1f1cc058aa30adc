"""Fits knowledge_graph: who is linked to what, how much each link says, and how far the walk goes.

Shapes: N items, E entities, L links.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import sparse

from app.catalogue.records import items_of
from app.features.entities import entity_keys
from app.features.users import KINDS
from app.learning.baskets import BUYING, baskets, together
from app.learning.dataset import Interactions
from app.learning.inputs import Inputs
from app.learning.item_similarity import covisitation
from app.learning.sources.judge import Judge
from app.retrieval.sources.knowledge_graph import KnowledgeGraphSource, link, normalised_rows
from app.retrieval.sources.source import Fitted, csr_arrays
from app.types import Float32Array, Int64Array, Json

MIN_ITEMS = 2  # an entity of one item leads nowhere
MAX_ITEM_SHARE = 0.1  # an entity of more of the catalogue than this says nothing, and costs a walk most
MAX_ITEMS = 500
NEIGHBOURS = 20  # items chosen after each
BASKET_HOURS = 1.0
GRID = {"together": (0.3, 0.6, 0.9), "steps": (1, 2), "decay": (0.9, 0.8, 0.7)}
DEFAULTS: Mapping[str, Json] = {"together": 0.5, "damping": 0.5, "steps": 1, "decay": 0.8}


def tune(data: Interactions, inputs: Inputs, judge: Judge) -> Fitted:
    return judge.one_by_one(KnowledgeGraphSource, fit(data, inputs, DEFAULTS), GRID)


def fit(data: Interactions, inputs: Inputs, parameters: Mapping[str, Json]) -> Fitted:
    keys = [entity_keys(item) for item in items_of(inputs.item_frame)]
    keys_E, weight_E = entities(keys)
    together_NN = chosen_together(data)
    links = csr_arrays("links", link(keys, keys_E, weight_E))
    return Fitted(parameters, {"keys": keys_E, "weights": weight_E, **links, **csr_arrays("together", together_NN)})


def chosen_together(data: Interactions) -> sparse.csr_array:
    """Where a step to another item leads, CSR [N, N]: half to what the same shoppers chose next, half to what was bought with it."""
    next_NN = normalised_rows(covisitation(data, NEIGHBOURS))
    if not np.isin(data.kind_E, [KINDS[name] for name in BUYING]).any():
        return next_NN
    bought_NN = normalised_rows(together(baskets(data, BASKET_HOURS), "llr"))
    return normalised_rows(sparse.csr_array(next_NN + bought_NN))


def entities(keys: list[Int64Array]) -> tuple[Int64Array, Float32Array]:
    """Keys [E], rising, of the entities worth walking over, and how much each says: log(items / items that have it)."""
    every_L = np.concatenate([*keys, np.empty(0, np.int64)])
    keys_E, count_E = np.unique(every_L, return_counts=True)
    kept_E = (count_E >= MIN_ITEMS) & (count_E <= max(MIN_ITEMS, min(MAX_ITEMS, MAX_ITEM_SHARE * len(keys))))
    weight_E: Float32Array = np.log(max(len(keys), 2) / count_E[kept_E]).astype(np.float32)
    return keys_E[kept_E], weight_E
