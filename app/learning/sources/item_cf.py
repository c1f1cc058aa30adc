"""Fits item_cf: shrunk cosine, decayed co-visitation, or EASE where it can be solved; and how position and time
decay the profile."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace

from app.learning.dataset import Interactions
from app.learning.inputs import Inputs
from app.learning.item_similarity import EASE_BELOW, covisitation, ease, item_similarity
from app.learning.sources.judge import Judge
from app.retrieval.sources.item_cf import ItemCfSource
from app.retrieval.sources.profile import FOREVER
from app.retrieval.sources.source import Fitted, csr_arrays
from app.types import Json

RIDGES = (100.0, 300.0, 1_000.0)
BEYOND: Mapping[float, tuple[float, ...]] = {
    100.0: (30.0, 10.0),
    1_000.0: (3_000.0, 10_000.0),
}  # tried while the outermost one is the best
DECAYS = (1.0, 0.98, 0.95, 0.9, 0.8, 0.7, 0.6)
COARSE_DECAYS = (1.0, 0.8)
HALF_LIVES_DAYS = (FOREVER, 30.0, 7.0, 1.0)  # of an event in the profile
GAPS_DAYS = (None, 1.0)  # time between two events in which what they say of each other halves
DEFAULTS: Mapping[str, Json] = {
    "weights": "cosine", "ridge": None, "gap_days": None, "decay": 0.95, "half_life_days": FOREVER,
}  # fmt: skip


def tune(data: Interactions, inputs: Inputs, judge: Judge) -> Fitted:
    """The kind of weights by the better of two decays, then the decay by position finely, then that by time."""
    kinds: list[dict[str, Json]] = [{"weights": "cosine"}]
    kinds += [{"weights": "covisitation", "gap_days": gap} for gap in GAPS_DAYS]
    if len(data.item_ids) <= EASE_BELOW:
        kinds += [{"weights": "ease", "ridge": ridge} for ridge in RIDGES]

    def coarse() -> Iterator[Fitted]:
        for kind in kinds:
            fitted = fit(data, inputs, {**DEFAULTS, "decay": 1.0, **kind})
            yield from (_decayed(fitted, decay) for decay in COARSE_DECAYS)

    def further(ridge: float) -> Iterator[Fitted]:
        fitted = fit(data, inputs, {**DEFAULTS, "weights": "ease", "ridge": ridge, "decay": 1.0})
        return (_decayed(fitted, decay) for decay in COARSE_DECAYS)

    best = judge.best(ItemCfSource, coarse())
    outermost = best.parameters["ridge"]
    for ridge in BEYOND.get(outermost, ()) if isinstance(outermost, float) else ():
        tried = judge.best(ItemCfSource, itertools.chain([best], further(ridge)))
        if tried is best:
            break
        best = tried
    return retune(best, data, inputs, judge)


def retune(fitted: Fitted, data: Interactions, inputs: Inputs, judge: Judge) -> Fitted:
    """Both decays; the weights stay of their kind."""
    return judge.one_by_one(ItemCfSource, fitted, {"decay": DECAYS, "half_life_days": HALF_LIVES_DAYS})


def fit(data: Interactions, inputs: Inputs, parameters: Mapping[str, Json]) -> Fitted:
    if parameters["weights"] == "ease":
        weights_NN = ease(data, float(parameters["ridge"]))  # type: ignore[arg-type]
    else:
        gap = parameters.get("gap_days")
        assert gap is None or isinstance(gap, int | float)
        is_cosine = parameters["weights"] == "cosine"
        weights_NN = item_similarity(data) if is_cosine else covisitation(data, gap_days=gap)
    return Fitted(parameters, csr_arrays("weights", weights_NN))


def _decayed(fitted: Fitted, decay: float) -> Fitted:
    return replace(fitted, parameters={**fitted.parameters, "decay": decay})
