"""Fits popular: the half-life of an event, and how far a scenario leans on the whole shop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from app.learning.dataset import Interactions
from app.learning.inputs import Inputs
from app.learning.popularity import popularity
from app.learning.sources.judge import Judge
from app.retrieval.sources.popular import PopularSource
from app.retrieval.sources.source import Fitted
from app.types import Json

FOREVER = 1e9  # days; the manifest knows no infinity
HALF_LIVES_DAYS = (0.25, 1.0, 3.0, 7.0, 14.0, 30.0, 90.0, FOREVER)
SHRINKAGES = (200.0, 50.0, 1_000.0, 1e9)  # the last one: the same list in every scenario
DEFAULTS: Mapping[str, Json] = {"half_life_days": 30.0, "shrinkage": 200.0}


def tune(data: Interactions, inputs: Inputs, judge: Judge) -> Fitted:
    """The half-life by what is wanted anywhere, asked for in the whole shop; the shrinkage by what is wanted in each scenario."""

    def tried(name: str, values: tuple[float, ...], fixed: Mapping[str, Json]) -> Iterator[Fitted]:
        for value in values:
            yield fit(data, inputs, {**fixed, name: value})

    half_lives = HALF_LIVES_DAYS if np.ptp(data.at_E) > 0 else (FOREVER,)
    best = judge.best(PopularSource, tried("half_life_days", half_lives, DEFAULTS))
    if len(data.scenarios) == 1:
        return best
    return judge.best_in_scenarios(PopularSource, tried("shrinkage", SHRINKAGES, best.parameters))


def retune(fitted: Fitted, data: Interactions, inputs: Inputs, judge: Judge) -> Fitted:
    """All of it: a fit costs next to nothing."""
    return tune(data, inputs, judge)


def fit(data: Interactions, inputs: Inputs, parameters: Mapping[str, Json]) -> Fitted:
    half_life, shrinkage = parameters["half_life_days"], parameters["shrinkage"]
    assert isinstance(half_life, int | float)
    assert isinstance(shrinkage, int | float)
    return Fitted(parameters, {"popularity": popularity(data, half_life, shrinkage)})
