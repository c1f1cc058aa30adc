"""Fits matrix_factorisation: implicit alternating least squares; users are folded in when they come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch
from implicit.cpu.als import AlternatingLeastSquares
from scipy import sparse
from threadpoolctl import threadpool_limits

from app.learning.dataset import Interactions
from app.learning.inputs import Inputs
from app.learning.item_similarity import chosen
from app.learning.sources.judge import Judge
from app.retrieval.sources.matrix_factorisation import MatrixFactorisationSource
from app.retrieval.sources.source import Fitted
from app.types import Float32Array, Json

FACTORS, ITERATIONS, SEED = 64, 8, 0
CONFIDENCES, REGULARISATIONS = (3.0, 10.0, 30.0), (1.0, 10.0)
DECAYS = (1.0, 0.98, 0.95, 0.85, 0.7)
DEFAULTS: Mapping[str, Json] = {"confidence": 10.0, "regularisation": 10.0, "decay": 0.9}


def tune(data: Interactions, inputs: Inputs, judge: Judge) -> Fitted:
    """Confidence, then regularisation, then the decay of the profile folded in."""
    best = judge.best(
        MatrixFactorisationSource,
        (fit(data, inputs, {**DEFAULTS, "decay": 1.0, "confidence": value}) for value in CONFIDENCES),
    )

    def regularised() -> Iterator[Fitted]:
        yield best
        for value in REGULARISATIONS:
            if value != best.parameters["regularisation"]:
                yield fit(data, inputs, {**best.parameters, "regularisation": value})

    return retune(judge.best(MatrixFactorisationSource, regularised()), data, inputs, judge)


def retune(fitted: Fitted, data: Interactions, inputs: Inputs, judge: Judge) -> Fitted:
    """The decay; the factors stay."""
    decayed = (replace(fitted, parameters={**fitted.parameters, "decay": decay}) for decay in DECAYS)
    return judge.best(MatrixFactorisationSource, decayed)


def fit(data: Interactions, inputs: Inputs, parameters: Mapping[str, Json]) -> Fitted:
    confidence, regularisation = parameters["confidence"], parameters["regularisation"]
    assert isinstance(confidence, int | float)
    assert isinstance(regularisation, int | float)
    users_UN = chosen(data)
    factors_NF = factorise(users_UN, float(confidence), float(regularisation))[1]
    factors_NF[np.asarray(users_UN.sum(0)).ravel() == 0] = 0.0
    gram_FF = factors_NF.T @ factors_NF + float(regularisation) * np.eye(factors_NF.shape[1], dtype=np.float32)
    return Fitted(parameters, {"factors": factors_NF, "gram": gram_FF})


def factorise(
    users_UN: sparse.csr_array, confidence: float, regularisation: float
) -> tuple[Float32Array, Float32Array]:
    """Factors of users [U, F] and items [N, F]."""
    with threadpool_limits(1, "blas"):  # implicit has threads of its own, and warns where BLAS would compete with them
        model = AlternatingLeastSquares(
            factors=min(FACTORS, max(1, users_UN.shape[1] - 1)),
            regularization=regularisation,
            alpha=confidence,
            iterations=ITERATIONS,
            num_threads=torch.get_num_threads(),
            random_state=SEED,
        )
        model.fit(sparse.csr_matrix(users_UN), show_progress=False)
    return model.user_factors, model.item_factors
