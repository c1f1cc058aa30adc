"""At least a share of the places for matching items, spread over the slate, as far as the catalogue holds any.

What is missing is let in at even distances and pushes the others down; the last of those that match nothing drop out. A promotion
never opens a hard rule, and goes before caps and diversity, because the share is a promise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from app.serving.draft import Draft
from app.serving.fallback import Pick
from app.serving.rules import matching_rows
from app.types import BoolArray

RULE = "promotion"
FindMore = Callable[[Draft, BoolArray, int], Iterator[Pick]]  # draft, rows wanted, how many: picks, best first


def match_promotions(draft: Draft) -> None:
    """Before anything is placed."""
    asked, view = draft.asked, draft.live.catalogue
    draft.promoted_R = [matching_rows(p.filter, asked, view, None) for p in asked.scenario.page_promotions]


def promised_rows(draft: Draft) -> set[int]:
    """Rows of the slate so far that stand for a promotion, whether it brought them or not."""
    rows = [pick.row for pick in draft.picks]
    return {row for match_R in draft.promoted_R for row in rows if match_R[row]}


def promote(draft: Draft, find_more: FindMore) -> None:
    """In the scenario's order; what the share of one promotion needs is not taken by the next, what it has beyond that may be."""
    total = len(draft.picks) + len(draft.pins)
    for i, (promotion, match_R) in enumerate(zip(draft.asked.scenario.page_promotions, draft.promoted_R, strict=True)):
        missing = num_wanted(promotion.share, total) - sum(bool(match_R[pick.row]) for pick in draft.standing())
        held = _held_by(draft, i, total)
        free = [pick for pick in draft.picks if pick.row not in held and not match_R[pick.row]]
        missing = min(missing, len(free))
        if missing <= 0:
            continue
        brought = list(find_more(draft, draft.left_R() & match_R, missing))
        brought = [pick._replace(rules=(*pick.rules, RULE)) for pick in brought[:missing]]
        gone = {pick.row for pick in free[len(free) - len(brought) :]}
        kept = [pick for pick in draft.picks if pick.row not in gone]
        draft.picks = spread(kept, brought, match_R, promotion.share)
        draft.report(RULE, [pick.row for pick in brought])


def _held_by(draft: Draft, num: int, total: int) -> set[int]:
    """Rows of the first picks that the shares of the first `num` promotions need."""
    held: set[int] = set()
    for promotion, match_R in zip(draft.asked.scenario.page_promotions[:num], draft.promoted_R[:num], strict=True):
        needed = num_wanted(promotion.share, total) - sum(bool(match_R[pin.row]) for pin in draft.pins.values())
        held |= set([pick.row for pick in draft.picks if match_R[pick.row]][: max(needed, 0)])
    return held


def num_wanted(share: float, num: int) -> int:
    return min(math.ceil(share * num - 1e-9), num)


def spread(kept: list[Pick], brought: list[Pick], match_R: BoolArray, share: float) -> list[Pick]:
    """Both in their order; a brought item comes in where the places so far hold less than the share."""
    waiting, standing, out, matched = list(brought), list(kept), list[Pick](), 0
    while waiting or standing:
        is_due = matched < math.floor(share * (len(out) + 1) + 1e-9) and not (standing and match_R[standing[0].row])
        pick = waiting.pop(0) if waiting and (is_due or not standing) else standing.pop(0)
        matched += bool(match_R[pick.row])
        out.append(pick)
    return out


def from_pool(draft: Draft, wanted_R: BoolArray, num: int) -> Iterator[Pick]:
    """The best candidates among these rows."""
    if draft.pool is not None and len(draft.pool):
        yield from draft.pool.picks(np.flatnonzero(wanted_R[draft.pool.rows_C])[:num].tolist())
