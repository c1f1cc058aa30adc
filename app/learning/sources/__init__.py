"""Fitting of the candidate sources: each module is the twin of one in `retrieval.sources`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol

from app.learning.dataset import Interactions
from app.learning.inputs import Inputs
from app.learning.sources import (
    complements,
    content,
    item_cf,
    knowledge_graph,
    matrix_factorisation,
    popular,
    repeat,
    user_cf,
)
from app.learning.sources.judge import Judge
from app.retrieval.sources.source import Fitted
from app.types import Json, Progress

Parameters = Mapping[str, Mapping[str, Json]]


class Fitter(Protocol):
    """DEFAULTS: parameters where there is too little data to tune them."""

    DEFAULTS: Mapping[str, Json]

    def tune(self, data: Interactions, inputs: Inputs, judge: Judge) -> Fitted:
        """Fitted on `data` with the parameters that the judge ranks best."""

    def fit(self, data: Interactions, inputs: Inputs, parameters: Mapping[str, Json]) -> Fitted: ...


FITTERS: Mapping[str, Fitter] = {
    "item_cf": item_cf,
    "user_cf": user_cf,
    "matrix_factorisation": matrix_factorisation,
    "content": content,
    "knowledge_graph": knowledge_graph,
    "complements": complements,
    "popular": popular,
    "repeat": repeat,
}
RETUNED: Mapping[str, Callable[[Fitted, Interactions, Inputs, Judge], Fitted]] = {
    "item_cf": item_cf.retune,
    "matrix_factorisation": matrix_factorisation.retune,
    "popular": popular.retune,
}
DEFAULTS: Parameters = {name: fitter.DEFAULTS for name, fitter in FITTERS.items()}


def tune_sources(data: Interactions, inputs: Inputs, judge: Judge, progress: Progress) -> dict[str, Fitted]:
    """Every source by itself, on its own grid."""
    tuned = {}
    for done, (name, fitter) in enumerate(FITTERS.items(), start=1):
        started = time.monotonic()
        tuned[name] = fitter.tune(data, inputs, judge)
        note = f"{name} in {time.monotonic() - started:.1f} s: {dict(tuned[name].parameters)}"
        progress("tune sources", done / len(FITTERS), note)
    return tuned


def retune_sources(
    fitted: Mapping[str, Fitted], data: Interactions, inputs: Inputs, judge: Judge, progress: Progress
) -> dict[str, Fitted]:
    """Those of `fitted` whose parameters age, with parameters searched anew as far as that is cheap. data: what they were fitted on."""
    found = {name: retune(fitted[name], data, inputs, judge) for name, retune in RETUNED.items() if name in fitted}
    progress("tune sources", 1.0, ", ".join(f"{name} {dict(source.parameters)}" for name, source in found.items()))
    return found


def fit_sources(data: Interactions, inputs: Inputs, parameters: Parameters) -> dict[str, Fitted]:
    """A source of which no parameters are given takes its defaults."""
    return {name: fitter.fit(data, inputs, parameters.get(name, fitter.DEFAULTS)) for name, fitter in FITTERS.items()}
