"""Fits complements: what a basket is, by which measure two items go together, and how fast a purchase is past."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from app.learning.baskets import baskets, buying_kinds, together
from app.learning.dataset import Interactions
from app.learning.inputs import Inputs
from app.learning.sources.judge import Judge
from app.retrieval.sources.complements import ComplementsSource
from app.retrieval.sources.source import Fitted, csr_arrays
from app.types import Json

WINDOWS_HOURS = (1.0, 24.0)
MEASURES = ("pmi", "llr")
GRID: Mapping[str, tuple[Json, ...]] = {"decay": (0.98, 0.9, 0.7), "half_life_days": (30.0, 7.0, 1.0)}
DEFAULTS: Mapping[str, Json] = {"measure": "llr", "window_hours": 1.0, "decay": 0.9, "half_life_days": 7.0}


def tune(data: Interactions, inputs: Inputs, judge: Judge) -> Fitted:
    def kinds() -> Iterator[Fitted]:
        for window in WINDOWS_HOURS:
            for measure in MEASURES:
                yield fit(data, inputs, {**DEFAULTS, "window_hours": window, "measure": measure})

    return judge.one_by_one(ComplementsSource, judge.best(ComplementsSource, kinds()), GRID)


def fit(data: Interactions, inputs: Inputs, parameters: Mapping[str, Json]) -> Fitted:
    window, measure = parameters["window_hours"], parameters["measure"]
    assert isinstance(window, int | float)
    assert measure in ("pmi", "llr")
    weights_NN = together(baskets(data, window), measure)  # type: ignore[arg-type]
    return Fitted(parameters, {**csr_arrays("weights", weights_NN), "kinds": buying_kinds(data)})
