"""What comes after the candidates: the fallback chain for places they left open, and the search for what a promotion lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from app.scenarios.scenario import Scenario
from app.serving.composition.caps import fitting, limits_of, uncapped_R
from app.serving.composition.promotions import from_pool
from app.serving.draft import Draft
from app.serving.fallback import Pick, fill, popular_rows, steps_of
from app.serving.retrieve import retrieve, weights_of
from app.types import BoolArray, Int64Array

FindScenario = Callable[[str], Scenario | None]


class Outside(NamedTuple):
    """What the recommender fetched for it. trending: item ids, best first."""

    trending: Sequence[str]
    find_scenario: FindScenario


def fill_up(draft: Draft, outside: Outside) -> None:
    """Step by step of the scenario's fallback chain; where caps left nothing, once more without them."""
    for step in steps_of(draft.asked.scenario.fallback):
        while draft.is_short and _take(draft, step, outside):
            if step not in draft.fallbacks:
                draft.fallbacks.append(step)
    if draft.is_short and draft.caps_hold and limits_of(draft.asked.scenario.caps):
        draft.caps_hold = False  # rather too many of one brand than an empty place
        draft.picks += list(from_pool(draft, draft.left_R(), draft.num_open - len(draft.picks)))
        fill_up(draft, outside)


def _take(draft: Draft, step: str, outside: Outside) -> bool:
    """Whether the step brought anything. Under caps it may have more to bring."""
    left_R = draft.left_R() & uncapped_R(draft)
    num = draft.num_open - len(draft.picks)
    rows = _rows_of(draft, step, left_R, num, outside)
    return fill(draft.picks, fitting(draft, rows, num), step, draft.num_open)


def _rows_of(draft: Draft, step: str, left_R: BoolArray, num: int, outside: Outside) -> Int64Array:
    live, asked = draft.live, draft.asked
    if step == "popular":
        return popular_rows(live, outside.trending, left_R, num)
    if step == "new":
        return live.catalogue.newest(left_R, num)
    if live.model is None:
        return np.empty(0, np.int64)
    scenario = outside.find_scenario(step)
    weights = weights_of(asked, live, live.model, scenario) if scenario else {step: 1.0}
    return retrieve(asked, live, left_R, scenario or asked.scenario, weights, num).rows_C


def find_matching(draft: Draft, wanted_R: BoolArray, num: int, outside: Outside) -> Iterator[Pick]:
    """For a promotion: the best candidates, then the sources asked for these rows alone, then what sells and what is new."""
    picks = list(from_pool(draft, wanted_R, num))
    for step in (None, "popular", "new"):
        rows = [pick.row for pick in picks]
        if len(rows) < num:
            left_R = wanted_R.copy()
            left_R[rows] = False
            if step is None:
                picks += _from_sources(draft, left_R, num - len(rows))
            else:
                fill(picks, _rows_of(draft, step, left_R, num - len(rows), outside), step, num)
    yield from picks


def _from_sources(draft: Draft, left_R: BoolArray, num: int) -> list[Pick]:
    if draft.live.model is None or not left_R.any():
        return []
    found = retrieve(draft.asked, draft.live, left_R, draft.asked.scenario, draft.weights, num)
    rows, scores = found.rows_C.tolist(), found.scores_C.tolist()
    return [
        Pick(row, score, tuple(found.sources_of(c))) for c, (row, score) in enumerate(zip(rows, scores, strict=True))
    ]
