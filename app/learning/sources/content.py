"""Fits content: centring and whitening of the texts, and the decay of the profile. Shapes: N items, T text, P projected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from app.learning.dataset import Interactions
from app.learning.inputs import Inputs
from app.learning.sources.judge import Judge
from app.retrieval.sources.content import ContentSource, project
from app.retrieval.sources.source import Fitted
from app.types import Float32Array, Json

DIMENSIONS = 128
WHITENINGS = (0.0, 0.5)  # power by which the directions of the texts are made equally strong: 0 not, 1 fully
DECAYS = (0.95, 0.8, 0.5)
DEFAULTS: Mapping[str, Json] = {"whitening": 0.5, "decay": 0.8}


def tune(data: Interactions, inputs: Inputs, judge: Judge) -> Fitted:
    def grid() -> Iterator[Fitted]:
        for whitening in WHITENINGS:
            fitted = fit(data, inputs, {"whitening": whitening, "decay": 1.0})
            yield from (replace(fitted, parameters={**fitted.parameters, "decay": decay}) for decay in DECAYS)

    return judge.best(partial(ContentSource, exact=True), grid())


def fit(data: Interactions, inputs: Inputs, parameters: Mapping[str, Json]) -> Fitted:
    whitening = parameters["whitening"]
    assert isinstance(whitening, int | float)
    mean_T, projection_TP = principal_directions(inputs.text_NT, float(whitening))
    vectors_NP = project(inputs.text_NT, mean_T, projection_TP)
    return Fitted(parameters, {"vectors": vectors_NP, "mean": mean_T, "projection": projection_TP})


def principal_directions(text_NT: Float32Array, whitening: float) -> tuple[Float32Array, Float32Array]:
    """Mean [T] of the items that have a text, and [T, P]: their strongest directions, each divided by its deviation^whitening."""
    known_NT = text_NT[np.abs(text_NT).sum(1) > 0]
    T = text_NT.shape[1]
    if not len(known_NT):
        return np.zeros(T, np.float32), np.eye(T, min(T, DIMENSIONS), dtype=np.float32)
    mean_T = known_NT.mean(0)
    centred_NT = known_NT - mean_T
    variance_T, direction_TT = np.linalg.eigh(centred_NT.T @ centred_NT / len(known_NT))
    strongest = np.argsort(-variance_T, kind="stable")[:DIMENSIONS]
    deviation_P = np.sqrt(np.maximum(variance_T[strongest], 1e-6 * max(float(variance_T.max()), 1e-12)))
    projection_TP: Float32Array = (direction_TT[:, strongest] / deviation_P**whitening).astype(np.float32)
    return mean_T.astype(np.float32), projection_TP
