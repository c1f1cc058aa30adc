"""The ranker, fitted on cases of a validation cut."""

from __future__ import annotations

import numpy as np

from app.learning.dataset import Interactions
from app.learning.evaluation.rank import WHOLE_SHOP, Ranker, asks_of
from app.learning.fit_config import FitConfig
from app.learning.fusion_fit import kind_of
from app.learning.fusion_stage import next_events_after
from app.learning.guard import split_cases
from app.learning.ranker_cases import (
    MAX_COLD,
    MAX_OTHERS,
    MAX_SLATES,
    as_strangers,
    drawn,
    make_cases,
    outcomes_of,
    slates_after,
)
from app.learning.ranker_fit import RankerFit, fit_ranker
from app.learning.splits import Repeats, Split
from app.types import Progress

ALLOWED: Repeats = "allow"


def fit_ranker_on(ranker: Ranker, data: Interactions, inner: Split, config: FitConfig, progress: Progress) -> RankerFit:
    """inner: as in `fit_fusion_on`. On logged slates and next events, as the service is asked; or on what the protocol judges."""
    seed, fusion = config.training.seed, ranker.snapshot.fusion
    if not len(inner.users):
        return RankerFit()
    if config.fusion_cases == "next_event" and config.protocol == "temporal":
        log, repeats = data, ALLOWED  # the service shows past items that no rule keeps out
        known_N = np.bincount(inner.train.item_E, minlength=len(data.item_ids)).astype(np.int64)
        slates = slates_after(data, inner.now[0], known_N, seed)
        others = outcomes_of(data, next_events_after(data, inner, config))
    else:
        log, repeats = inner.train, config.repeats
        slates = drawn(outcomes_of(data, (asks_of(inner, WHOLE_SHOP), list(inner.targets))), MAX_SLATES, seed)
        parts = [pair for of in split_cases(inner).values() for pair in zip(*of, strict=True)]
        others = outcomes_of(data, ([ask for ask, _ in parts], [wanted for _, wanted in parts]))
    others = drawn(others, MAX_OTHERS, seed)
    outcomes = [*slates, *others, *as_strangers([*slates, *others], MAX_COLD, seed)]
    cases = make_cases(ranker, log, outcomes, inner, repeats, config.scenarios, progress)
    prices = ranker.inputs.item_frame["price"].drop_nulls()
    return fit_ranker(
        cases, data.scenarios, ranker.inputs.scenario_text_ST, kind_of(fusion), seed, progress,
        exclude_had=config.repeats == "exclude", home=data.shown.home,
        median_price=float(prices.median() or 1.0) if len(prices) else 1.0,  # type: ignore[arg-type]
    )  # fmt: skip
