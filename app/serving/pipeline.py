"""The request's way, on one screen: rules → candidates → ranking → composition → fallback → slate. Synchronous, on one immutable
snapshot.

What it needs from outside (user state, profile vector, trends) is fetched by the recommender before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter

import numpy as np

from app.feedback.state import Exposure
from app.serving.composition.boosts import boost
from app.serving.composition.dislikes import lower_disliked
from app.serving.composition.exploration import explore
from app.serving.composition.freshness import prefer_fresh
from app.serving.composition.pins import find_pins, place_pins
from app.serving.composition.pool import make_pool
from app.serving.composition.promotions import match_promotions, promote
from app.serving.composition.rotation import rotate
from app.serving.composition.selection import select
from app.serving.draft import Draft as Draft
from app.serving.filling import FindScenario, Outside, fill_up, find_matching
from app.serving.live import LiveSnapshot
from app.serving.ranking import rank
from app.serving.reasons.explain import explain
from app.serving.retrieve import retrieve, weights_of
from app.serving.rules import Asked, admit

NUM_RANKED = 400  # candidates that are ranked for one slate


def draft_slate(asked: Asked, live: LiveSnapshot) -> Draft:
    """Rules, candidates and their order. Raises Invalid when a filter needs a viewed item and there is none."""
    begin = perf_counter()
    draft = Draft(asked, live, admit(asked, live.catalogue))
    draft.reports.extend(draft.admission.reports)
    draft.fallbacks.extend(draft.admission.lifted)
    match_promotions(draft)
    draft.timings_ms["rules"] = _since(begin)
    if live.model is not None:
        begin = perf_counter()
        draft.weights = weights_of(asked, live, live.model, asked.scenario)
        num = max(NUM_RANKED, asked.n)
        found = retrieve(asked, live, draft.admission.allowed_R, asked.scenario, draft.weights, num)
        draft.candidates = {name: int(np.count_nonzero(rank_C)) for name, rank_C in found.ranks.items()}
        draft.timings_ms["candidates"] = _since(begin)
        begin = perf_counter()
        draft.ranking = rank(asked, live, found)
        draft.pool = make_pool(draft.ranking)
        draft.timings_ms["ranking"] = _since(begin)
    begin = perf_counter()
    for rule in (prefer_fresh, lower_disliked, boost, find_pins, select, rotate):
        rule(draft)
    draft.timings_ms["composition"] = _since(begin)
    return draft


def complete_slate(
    draft: Draft, trending: Sequence[str], find_scenario: FindScenario, exposures: Mapping[str, Exposure] | None = None
) -> None:
    """Fill what candidates left open, step by step of the scenario's fallback chain; then the rules for whole slates."""
    begin = perf_counter()
    outside = Outside(trending, find_scenario)
    fill_up(draft, outside)
    draft.timings_ms["fallback"] = _since(begin)
    begin = perf_counter()
    promote(draft, lambda draft, wanted_R, num: find_matching(draft, wanted_R, num, outside))
    if draft.explores:
        explore(draft, exposures or {})
    place_pins(draft)
    draft.timings_ms["composition"] += _since(begin)


def explain_slate(draft: Draft) -> None:
    """Why each pick is there; for a finished slate."""
    begin = perf_counter()
    asked, num = draft.asked, max(NUM_RANKED, draft.asked.n)
    draft.reasons = explain(asked, draft.live, draft.admission.allowed_R, draft.ranking, draft.picks, num)
    draft.timings_ms["reasons"] = _since(begin)


def _since(begin: float) -> float:
    return round((perf_counter() - begin) * 1e3, 3)
