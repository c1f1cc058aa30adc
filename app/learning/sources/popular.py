"""Fits popular: the half-life of an event."""

from __future__ import annotations

from collections.abc import Mapping

from app.learning.dataset import Interactions
from app.learning.inputs import Inputs
from app.learning.popularity import popularity
from app.learning.sources.judge import Judge
from app.retrieval.sources.popular import PopularSource
from app.retrieval.sources.source import Fitted
from app.types import Json

FOREVER = 1e9  # days; the manifest knows no infinity
HALF_LIVES_DAYS = (3.0, 7.0, 30.0, 90.0, FOREVER)
DEFAULTS: Mapping[str, Json] = {"half_life_days": 30.0}


def tune(data: Interactions, inputs: Inputs, judge: Judge) -> Fitted:
    return judge.best(PopularSource, (fit(data, inputs, {"half_life_days": days}) for days in HALF_LIVES_DAYS))


def fit(data: Interactions, inputs: Inputs, parameters: Mapping[str, Json]) -> Fitted:
    half_life = parameters["half_life_days"]
    assert isinstance(half_life, int | float)
    return Fitted(parameters, {"popularity": popularity(data, half_life)})
