"""The caller's own list, put in order: the sources, fusion, ranking and score rules of a slate, restricted to the items given.

No rule takes an item away but the request's own filter; what cannot be shown at all is told apart. Synchronous, on one immutable
snapshot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from app.scenarios.scenario import Exclusions
from app.serving.composition.boosts import boost
from app.serving.composition.dislikes import lower_disliked
from app.serving.composition.freshness import prefer_fresh
from app.serving.composition.pool import make_pool
from app.serving.draft import Draft
from app.serving.fallback import fill, popular_rows
from app.serving.live import LiveSnapshot
from app.serving.ranking import rank
from app.serving.retrieve import retrieve, weights_of
from app.serving.rules import Asked, admit
from app.serving.slate import Slate
from app.types import BoolArray, Int64Array

NO_EXCLUSIONS = Exclusions(purchased_days=0.0, seen_impressions=0.0, context_items=False)
UNSCORED = ("two_tower", "content")  # by what stands an item that no weighted source scored; then by popularity
GIVEN = "given"  # what nothing is known of keeps the order it came in


@dataclass(frozen=True, slots=True)
class Sorted:
    """draft: the items that can be shown, in order. The others in the order given: hidden or expired, unknown to the catalogue,
    and those that the request's filter leaves out."""

    draft: Draft
    unavailable: tuple[str, ...]
    unknown: tuple[str, ...]
    filtered: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RankedItems:
    """slate: all items that can be shown, best first; see `Sorted` for the others."""

    slate: Slate
    unavailable: tuple[str, ...]
    unknown: tuple[str, ...]
    filtered: tuple[str, ...]


def sort_items(asked: Asked, item_ids: Sequence[str], live: LiveSnapshot) -> Sorted:
    """item_ids: without repeats. The draft is short where only popularity can tell; then `sort_rest`."""
    begin = perf_counter()
    view = live.catalogue
    known = {item.item_id for item in view.items(item_ids)}
    rows = {item_id: row for item_id in item_ids if item_id in known and (row := view.row(item_id)) is not None}
    visible_R = view.visible(asked.now)
    admission = admit(without_rules(asked), view)
    listed_R = np.zeros(len(view), np.bool_)
    listed_R[list(rows.values())] = True
    draft = Draft(asked, live, admission.among(listed_R))
    if live.model is not None:
        _rank(draft, listed_R)
    draft.timings_ms["ranking"] = round((perf_counter() - begin) * 1e3, 3)
    allowed_R = draft.admission.allowed_R
    return Sorted(
        draft,
        unavailable=tuple(i for i, row in rows.items() if not visible_R[row]),
        unknown=tuple(item_id for item_id in item_ids if item_id not in rows),
        filtered=tuple(i for i, row in rows.items() if visible_R[row] and not allowed_R[row]),
    )


def sort_rest(draft: Draft, item_ids: Sequence[str], trending: Sequence[str]) -> None:
    """Behind what is ranked: by popularity, and last in the order given."""
    num = draft.num_left
    _append(draft, popular_rows(draft.live, trending, draft.left_R(), num), "popular")
    rows, left_R = draft.live.catalogue.rows(item_ids), draft.left_R()
    _append(draft, rows[left_R[rows]], GIVEN)


def without_rules(asked: Asked) -> Asked:
    """Only availability and the request's own filter remain."""
    scenario = replace(asked.scenario, exclude=NO_EXCLUSIONS)
    state = replace(asked.state, purchased={}, seen={}, dismissed={})
    return replace(asked, scenario=scenario, scenario_filter=None, state=state)


def _rank(draft: Draft, listed_R: BoolArray) -> None:
    asked, live, num = draft.asked, draft.live, int(np.count_nonzero(listed_R))
    assert live.model
    if not num:
        return
    draft.weights = weights_of(asked, live, live.model, asked.scenario)
    found = retrieve(asked, live, draft.admission.allowed_R, asked.scenario, draft.weights, num)
    draft.found = found
    (draft.ranking,) = rank([asked], live, [found])
    draft.pool = make_pool(draft.ranking)
    for rule in (prefer_fresh, lower_disliked, boost):
        rule(draft)
    draft.picks = draft.pool.picks(range(len(draft.pool)))
    for source in UNSCORED:
        if draft.num_left:
            rows = retrieve(asked, live, draft.left_R(), asked.scenario, {source: 1.0}, draft.num_left).rows_C
            _append(draft, rows, source)


def _append(draft: Draft, rows: Int64Array, source: str) -> None:
    if fill(draft.picks, rows, source, len(draft.picks) + len(rows)):
        draft.fallbacks.append(source)
