"""Fits item_cf: shrunk cosine, or EASE where it can be solved, and the decay of the profile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from app.learning.dataset import Interactions
from app.learning.inputs import Inputs
from app.learning.item_similarity import EASE_BELOW, ease, item_similarity
from app.learning.sources.judge import Judge
from app.retrieval.sources.item_cf import ItemCfSource
from app.retrieval.sources.source import Fitted, csr_arrays
from app.types import Json

RIDGES = (100.0, 300.0, 1_000.0)
DECAYS = (1.0, 0.98, 0.95, 0.9, 0.8)
DEFAULTS: Mapping[str, Json] = {"ridge": None, "decay": 0.95}


def tune(data: Interactions, inputs: Inputs, judge: Judge) -> Fitted:
    ridges = (None, *RIDGES) if len(data.item_ids) <= EASE_BELOW else (None,)
    best = judge.best(ItemCfSource, (fit(data, inputs, {"ridge": ridge, "decay": 1.0}) for ridge in ridges))
    decayed = (replace(best, parameters={**best.parameters, "decay": decay}) for decay in DECAYS)
    return judge.best(ItemCfSource, decayed)


def fit(data: Interactions, inputs: Inputs, parameters: Mapping[str, Json]) -> Fitted:
    """ridge None: by cosine."""
    ridge = parameters["ridge"]
    weights_NN = item_similarity(data) if ridge is None else ease(data, float(ridge))  # type: ignore[arg-type]
    return Fitted(parameters, csr_arrays("weights", weights_NN))
