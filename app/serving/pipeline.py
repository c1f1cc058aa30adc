"""The request's way, on one screen: rules → candidates → ranking → composition → fallback → slate. Synchronous, on one immutable
snapshot.

What it needs from outside (user state, profile vector, trends) is fetched by the recommender before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from app.scenarios.scenario import Scenario
from app.serving.composition import compose
from app.serving.fallback import Pick, fill, popular_rows, steps_of
from app.serving.live import LiveSnapshot
from app.serving.ranking import Ranking, rank
from app.serving.retrieve import retrieve, weights_of
from app.serving.rules import Admission, Asked, admit
from app.serving.slate import RuleReport
from app.types import BoolArray

NUM_RANKED = 400  # candidates that are ranked for one slate
FindScenario = Callable[[str], Scenario | None]


@dataclass(slots=True)
class Draft:
    """A slate in the making. candidates: source -> how many of them the fused list holds. reports: what each rule did, in order."""

    asked: Asked
    live: LiveSnapshot
    admission: Admission
    picks: list[Pick] = field(default_factory=list)
    ranking: Ranking | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    candidates: Mapping[str, int] = field(default_factory=dict)
    fallbacks: list[str] = field(default_factory=list)
    reports: list[RuleReport] = field(default_factory=list)
    timings_ms: dict[str, float] = field(default_factory=dict)

    @property
    def is_short(self) -> bool:
        return len(self.picks) < self.asked.n and self.num_left > 0

    @property
    def num_left(self) -> int:
        return int(np.count_nonzero(self.admission.allowed_R)) - len(self.picks)

    def left_R(self) -> BoolArray:
        left_R = self.admission.allowed_R.copy()
        left_R[[pick.row for pick in self.picks]] = False
        return left_R


def draft_slate(asked: Asked, live: LiveSnapshot) -> Draft:
    """Rules and candidates. Raises Invalid when a filter needs a viewed item and there is none."""
    begin = perf_counter()
    draft = Draft(asked, live, admit(asked, live.catalogue))
    draft.reports.extend(draft.admission.reports)
    draft.timings_ms["rules"] = _since(begin)
    if live.model is not None:
        begin = perf_counter()
        draft.weights = weights_of(asked, live, live.model, asked.scenario)
        num = max(NUM_RANKED, asked.n)
        found = retrieve(asked, live, draft.admission.allowed_R, asked.scenario, draft.weights, num)
        draft.candidates = {name: int(np.count_nonzero(rank_C)) for name, rank_C in found.ranks.items()}
        draft.timings_ms["candidates"] = _since(begin)
        begin = perf_counter()
        draft.ranking = rank(asked, live.model, found)
        draft.timings_ms["ranking"] = _since(begin)
        begin = perf_counter()
        draft.picks = compose(draft.ranking, asked.n)
        draft.timings_ms["composition"] = _since(begin)
    return draft


def complete_slate(draft: Draft, trending: Sequence[str], find_scenario: FindScenario) -> None:
    """Fill what candidates left open, step by step of the scenario's fallback chain."""
    begin = perf_counter()
    for step in steps_of(draft.asked.scenario.fallback):
        if draft.is_short and _take(draft, step, trending, find_scenario):
            draft.fallbacks.append(step)
    draft.timings_ms["fallback"] = _since(begin)


def _take(draft: Draft, step: str, trending: Sequence[str], find_scenario: FindScenario) -> bool:
    live, asked, left_R = draft.live, draft.asked, draft.left_R()
    num = asked.n - len(draft.picks)
    if step == "popular":
        return fill(draft.picks, popular_rows(live, trending, left_R, num), step, asked.n)
    if step == "new":
        return fill(draft.picks, live.catalogue.newest(left_R, num), step, asked.n)
    if live.model is None:
        return False
    scenario = find_scenario(step)
    weights = weights_of(asked, live, live.model, scenario) if scenario else {step: 1.0}
    found = retrieve(asked, live, left_R, scenario or asked.scenario, weights, num)
    return fill(draft.picks, found.rows_C, step, asked.n)


def _since(begin: float) -> float:
    return round((perf_counter() - begin) * 1e3, 3)
