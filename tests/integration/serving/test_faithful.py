"""Reasons are faithful: without the cited event the item's score falls more than without another event of the same history.

On a small sample shop with really trained towers and sources. The scores of both are read off the pipeline that makes slates.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
import pytest

from app.catalogue.sample_shop import SampleShop
from app.catalogue.shop_data import ShopData
from app.encoding.encoder import Encoder
from app.feedback.state import UserState
from app.scenarios.defaults import READY_MADE
from app.serving.live import LiveSnapshot
from app.serving.pipeline import draft_slate, explain_slate
from app.serving.reasons.causes import Cause, without
from app.serving.reasons.leave_out import scores_at
from app.serving.rules import Asked
from app.serving.slate import SlateRequest
from tests.integration.serving.sample import pasts
from tests.integration.serving.slates import live_of
from tests.integration.serving.test_ranker import ranked_snapshot

NUM_SLATES = 200
SCENARIOS = ("home", "category", "email", "promotion")


class Case(NamedTuple):
    row: int
    cited: str
    fall: float
    other_fall: float


def requests(shop: ShopData) -> Iterator[Asked]:
    """Of shoppers with a past, in turn in several scenarios."""
    for place, (user_id, now, entries) in enumerate(pasts(shop)):
        scenario = READY_MADE[SCENARIOS[place % len(SCENARIOS)]]
        request = SlateRequest(scenario.name, user_id=user_id, n=8, reasons=True)
        if len({entry.item_id for entry in entries}) > 2:
            yield Asked(request, scenario, None, None, UserState(entries), None, True, now, 8)


def score(asked: Asked, live: LiveSnapshot, row: int) -> float:
    """Of one item, in the slate's own ranking."""
    ranking = draft_slate(asked, live).ranking
    assert ranking
    return float(scores_at(ranking, np.asarray([row]))[0])


def case_of(asked: Asked, live: LiveSnapshot, draw: random.Random) -> Case | None:
    draft = draft_slate(asked, live)
    explain_slate(draft)
    pick = draw.choice(draft.picks)
    cited = [e.item_id for e in draft.reasons[pick.row].evidence if e.kind == "history" and e.item_id]
    others = sorted({entry.item_id for entry in asked.state.history} - set(cited[:1]))
    if not cited:
        return None
    whole = score(asked, live, pick.row)
    fall, other_fall = (
        whole - score(without(asked, Cause("history", item_id)), live, pick.row)
        for item_id in (cited[0], draw.choice(others))
    )
    return Case(pick.row, cited[0], fall, other_fall)


@pytest.mark.parametrize("method", ["fusion", "ranker"])
def test_without_the_cited_event_the_score_falls_more_than_without_another(
    sample_shop: SampleShop, sample_live: LiveSnapshot, encoder: Encoder, method: str
) -> None:
    """By the fusion, and by a ranker that looks at the fused score and at likeness to the history."""
    live = sample_live
    if method == "ranker":
        assert sample_live.model
        likes = {"log fused": 1.5, "tower": 1.0, "text of history": 1.0, "category share": 0.5, "bias": -1.0}
        live = live_of(ranked_snapshot(sample_live.model.snapshot, click=likes), encoder)
    assert draft_slate(next(requests(sample_shop.data)), live).ranking.method == method  # type: ignore[union-attr]
    draw = random.Random(11)
    told = (case_of(asked, live, draw) for asked in requests(sample_shop.data))
    cases = list(islice((case for case in told if case is not None), NUM_SLATES))
    faithful = [case.fall > case.other_fall for case in cases]
    print(f"{sum(faithful)} of {len(cases)} slates")
    assert len(cases) == NUM_SLATES
    assert sum(faithful) >= 0.95 * NUM_SLATES
