"""A share of the places changes from period to period: the lower ones, with the best of those who were not quite good enough.

Every item of the rotation is equally likely at each of its places, so its propensity is one over their number.
"""

from __future__ import annotations

from app.serving.composition.promotions import promised_rows
from app.serving.composition.seeds import draw_for
from app.serving.draft import Draft

RULE = "rotation"
SPARE = 2  # so many further candidates take turns at each place that rotates


def num_rotating(draft: Draft) -> int:
    rotation = draft.asked.scenario.rotation
    return round(rotation.rate * draft.num_open) if rotation else 0


def num_spare(draft: Draft) -> int:
    return SPARE * num_rotating(draft)


def rotate(draft: Draft) -> None:
    """picks: the open places, and behind them the reserve that selection took for this. What matches a promotion takes no turns: it would
    change how much the promotion brings."""
    head, spare = draft.picks[: draft.num_open], draft.picks[draft.num_open :]
    draft.picks = head
    promised = promised_rows(draft)
    spare = [pick for pick in spare if not any(match_R[pick.row] for match_R in draft.promoted_R)]
    places = [place for place, pick in enumerate(head) if pick.row not in promised][-num_rotating(draft) :]
    if not spare or not num_rotating(draft):
        return
    turn = [head[place] for place in places] + spare
    drawn = draw_for(RULE, draft.asked).permutation(len(turn))[: len(places)]
    for place, which in zip(places, drawn.tolist(), strict=True):
        draft.picks[place] = turn[which]._replace(propensity=1 / len(turn), rules=(*turn[which].rules, RULE))
    draft.reserve = frozenset(pick.row for pick in turn)
    draft.report(RULE, [turn[which].row for which in drawn.tolist() if which >= len(places)])
