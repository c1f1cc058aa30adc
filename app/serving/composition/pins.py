"""Items that an editor put at a place for a time. A pin never brings back what a hard rule took away."""

from __future__ import annotations

import numpy as np

from app.serving.draft import Draft
from app.serving.fallback import Pick

RULE = "pin"
SOURCE = "editorial"


def find_pins(draft: Draft) -> None:
    """Of several pins on a place, or of one item, the first that holds now. They leave the pool."""
    asked, view, taken = draft.asked, draft.live.catalogue, set[int]()
    for pin in asked.scenario.pins:
        row = view.row(pin.item_id)
        holds = (pin.from_at is None or pin.from_at <= asked.now) and (pin.until_at is None or asked.now < pin.until_at)
        if not holds or row is None or row in taken or not draft.admission.allowed_R[row]:
            continue
        if pin.position <= asked.n and pin.position not in draft.pins:
            taken.add(row)
            draft.pins[pin.position] = _pick(draft, row)
    if draft.pool is not None and taken:
        draft.pool = draft.pool.take(~np.isin(draft.pool.rows_C, list(taken)))


def place_pins(draft: Draft) -> None:
    """A slate too short for a pin's place ends with it."""
    if not draft.pins:
        return
    rest = iter(draft.picks)
    places = (draft.pins.get(position) or next(rest, None) for position in range(1, draft.asked.n + 1))
    draft.picks = [pick for pick in places if pick is not None]
    draft.report(RULE, [pick.row for pick in draft.pins.values()])
    draft.pins = {}


def _pick(draft: Draft, row: int) -> Pick:
    """With the score it was ranked by; one that no source brought has the least."""
    pool = draft.pool
    if pool is None or not len(pool):
        return Pick(row, 0.0, (SOURCE,), rules=(RULE,))
    found = np.flatnonzero(pool.rows_C == row)
    if not len(found):
        return Pick(row, float(pool.scores_C[-1]), (SOURCE,), rules=(RULE,))
    pick = pool.pick(int(found[0]))
    return pick._replace(sources=tuple(dict.fromkeys((SOURCE, *pick.sources))), rules=(RULE, *pick.rules))
