"""The request's way, on one screen: rules → candidates → ranking → composition → fallback → slate. Synchronous, on one immutable
snapshot.

What it needs from outside (user state, profile vector, trends) is fetched by the recommender before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import TypeVarTuple

from app.errors import Invalid
from app.feedback.state import Exposure
from app.retrieval.candidates import NUM_RANKED, Candidates
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
from app.serving.live import LiveModel, LiveSnapshot
from app.serving.ranking import rank
from app.serving.reasons.explain import explain
from app.serving.retrieve import Call, retrieve_all, weights_of
from app.serving.rules import Asked, Gate

MOST_RANKED = 400  # candidates of one slate, where its places are not more; NUM_RANKED at least
RANKED_PER_PLACE = 10
Args = TypeVarTuple("Args")


def draft_slate(asked: Asked, live: LiveSnapshot) -> Draft:
    """Rules, candidates and their order. Raises Invalid when a filter needs a viewed item and there is none."""
    (drafted,) = draft_slates([asked], live)
    if isinstance(drafted, Invalid):
        raise drafted
    return drafted


def draft_slates(asked: Sequence[Asked], live: LiveSnapshot) -> list[Draft | Invalid]:
    """Of independent requests, which share what they have in common and nothing else; in place of a draft what was wrong with the request."""
    begin = perf_counter()
    gate = Gate(live.catalogue)
    drafts = [_or_invalid(_admitted, one, live, gate) for one in asked]
    admitted = [draft for draft in drafts if isinstance(draft, Draft)]
    _time(admitted, "rules", begin)
    if live.model is not None:
        begin = perf_counter()
        found = _find_candidates(admitted, live, live.model)
        _time(admitted, "candidates", begin)
        begin = perf_counter()
        _rank(admitted, live, found)
        _time(admitted, "ranking", begin)
    return [draft if isinstance(draft, Invalid) else _or_invalid(_composed, draft) for draft in drafts]


def _admitted(asked: Asked, live: LiveSnapshot, gate: Gate) -> Draft:
    draft = Draft(asked, live, gate.admit(asked))
    draft.reports.extend(draft.admission.reports)
    draft.fallbacks.extend(draft.admission.lifted)
    match_promotions(draft)
    return draft


def _find_candidates(drafts: Sequence[Draft], live: LiveSnapshot, model: LiveModel) -> list[Candidates]:
    for draft in drafts:
        draft.weights = weights_of(draft.asked, live, model, draft.asked.scenario)
    calls = [Call(draft.asked, draft.admission, draft.weights, num_ranked(draft.asked.n)) for draft in drafts]
    found = retrieve_all(calls, live)
    for draft, candidates in zip(drafts, found, strict=True):
        draft.found = candidates
    return found


def _rank(drafts: Sequence[Draft], live: LiveSnapshot, found: Sequence[Candidates]) -> None:
    for draft, ranking in zip(drafts, rank([draft.asked for draft in drafts], live, found), strict=True):
        draft.ranking = ranking


def _composed(draft: Draft) -> Draft:
    begin = perf_counter()
    if draft.ranking is not None:
        draft.pool = make_pool(draft.ranking)
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
    asked, num = draft.asked, num_ranked(draft.asked.n)
    draft.reasons = explain(asked, draft.live, draft.admission.allowed_R, draft.ranking, draft.picks, num)
    draft.timings_ms["reasons"] = _since(begin)


def num_ranked(n: int) -> int:
    """Candidates that are ranked for a slate of n."""
    return max(min(max(RANKED_PER_PLACE * n, NUM_RANKED), MOST_RANKED), n)


def _or_invalid(step: Callable[[*Args], Draft], *args: *Args) -> Draft | Invalid:
    try:
        return step(*args)
    except Invalid as error:
        return error


def _time(drafts: Sequence[Draft], stage: str, begin: float) -> None:
    """What the batch took: each of them waited so long."""
    for draft in drafts:
        draft.timings_ms[stage] = _since(begin)


def _since(begin: float) -> float:
    return round((perf_counter() - begin) * 1e3, 3)
