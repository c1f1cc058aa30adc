"""Places for items of uncertain worth, drawn with known probabilities, so that what they teach can be weighed.

Each item of the draw has an inclusion probability; systematic sampling meets all of them exactly and draws a fixed number of items (give
or take the fraction), and the places are a uniform draw of their own. So the propensity of an item at a place is its inclusion probability
over the number of places, and what stood there keeps its own times the chance that nothing was tried there.

Shapes: C candidates, E items that may be tried, P text dim.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from app.feedback.state import Exposure
from app.retrieval.likeness import text_vectors
from app.serving.composition.caps import OpenUnderCaps, limits_of
from app.serving.composition.posterior import chances_of_best, neighbour_rates
from app.serving.composition.promotions import promised_rows
from app.serving.composition.seeds import draw_for
from app.serving.draft import Draft
from app.types import Float32Array, Int64Array

RULE = "exploration"
MAX_TRIED = 100  # the best candidates beyond the slate
ENOUGH_IMPRESSIONS = 50  # with so many, an item's worth is no longer uncertain


def explore(draft: Draft, exposures: Mapping[str, Exposure]) -> None:
    """exposures: item -> how often it was shown and acted on; one that is not there has never been shown."""
    assert draft.pool is not None
    promised = promised_rows(draft)
    places = [place for place, pick in enumerate(draft.picks) if pick.row not in promised]
    tried_E, chance_E = triable(draft, exposures)
    num = min(draft.asked.scenario.exploration * len(draft.standing()), len(places), len(tried_E))
    if num <= 0:
        return
    inclusion_E = inclusion(chance_E, num)
    draw = draw_for(RULE, draft.asked)
    chosen = systematic(inclusion_E, draw.random())
    shuffled = draw.permutation(len(places))[: len(chosen)]
    for place in places:
        pick = draft.picks[place]
        draft.picks[place] = pick._replace(propensity=pick.propensity * (1 - num / len(places)))
    for which, slot in zip(chosen.tolist(), shuffled.tolist(), strict=True):
        pick = draft.pool.pick(int(tried_E[which]))
        draft.picks[places[slot]] = pick._replace(
            propensity=float(inclusion_E[which]) / len(places), is_explored=True, rules=(*pick.rules, RULE)
        )
    draft.report(RULE, draft.pool.rows_C[tried_E[chosen]].tolist())


def triable(draft: Draft, exposures: Mapping[str, Exposure]) -> tuple[Int64Array, Float32Array]:
    """Candidates that may be tried, int64 [E], and how likely one draw takes each, float [E], sum 1."""
    assert draft.pool is not None
    taken = {pick.row for pick in draft.standing()} | draft.reserve
    open_C = ~np.isin(draft.pool.rows_C, list(taken))
    if draft.asked.scenario.exploration_method == "epsilon":
        tried_E = _under_caps(draft, np.flatnonzero(open_C)[:MAX_TRIED])
        return tried_E, np.full(len(tried_E), 1 / max(len(tried_E), 1), np.float32)
    shown_C, acted_C = _counts(draft, exposures)
    tried_E = _under_caps(draft, np.flatnonzero(open_C & (shown_C < ENOUGH_IMPRESSIONS))[:MAX_TRIED])
    if not len(tried_E):
        return tried_E, np.empty(0, np.float32)
    rate_E = neighbour_rates(_texts(draft), shown_C, acted_C, tried_E)
    return tried_E, chances_of_best(rate_E, shown_C[tried_E], acted_C[tried_E])


def inclusion(chance_E: Float32Array, num: float) -> Float32Array:
    """Probabilities that sum to num, in proportion to the chances as far as none exceeds 1. num <= E."""
    chance_E = np.maximum(np.asarray(chance_E, np.float64), 1e-9)
    sure_E = np.zeros(len(chance_E), np.bool_)
    while True:
        rest = num - np.count_nonzero(sure_E)
        out_E = np.where(sure_E, 1.0, rest * chance_E / max(chance_E[~sure_E].sum(), 1e-300))
        over_E = ~sure_E & (out_E > 1)
        if not over_E.any():
            return out_E
        sure_E |= over_E


def systematic(inclusion_E: Float32Array, start: float) -> Int64Array:
    """Places drawn with exactly these probabilities (Madow 1949): one for each of start, start + 1, … below the sum. start: 0-1."""
    reach_E = np.cumsum(inclusion_E)
    points = np.arange(start, reach_E[-1], 1.0)
    return np.unique(np.minimum(np.searchsorted(reach_E, points, side="right"), len(reach_E) - 1))


def _under_caps(draft: Draft, tried_E: Int64Array) -> Int64Array:
    """As many of one category or brand as would fit all at once, whichever are drawn here and by the rotation."""
    if not limits_of(draft.asked.scenario.caps):
        return tried_E
    assert draft.pool is not None
    standing = sorted({pick.row for pick in draft.standing()} | draft.reserve)
    under = OpenUnderCaps(draft.asked.scenario.caps, draft.live.catalogue, draft.pool.rows_C[tried_E], standing)
    kept = []
    for candidate in range(len(tried_E)):
        if under.open_C[candidate]:
            kept.append(candidate)
            under.take(candidate)
    return tried_E[kept]


def _counts(draft: Draft, exposures: Mapping[str, Exposure]) -> tuple[Float32Array, Float32Array]:
    assert draft.pool is not None
    never = Exposure(0.0, 0.0)
    ids = map(draft.live.catalogue.id_at, draft.pool.rows_C.tolist())
    counts_C2 = np.asarray([exposures.get(item_id, never) for item_id in ids], np.float32).reshape(-1, 2)
    return counts_C2[:, 0], np.minimum(counts_C2[:, 1], counts_C2[:, 0])


def _texts(draft: Draft) -> Float32Array:
    assert draft.pool is not None
    assert draft.live.model is not None
    return text_vectors(draft.live.model.snapshot, draft.live.model.space, draft.pool.rows_C)
