"""Reasons are faithful: without the cited event the item's score falls more than without another event of the same history.

On a small sample shop with really trained towers and sources. The scores of both are read off the pipeline that makes slates.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from typing import NamedTuple

import polars as pl
import pytest
import torch

from app.catalogue.sample_shop import generate_sample_shop
from app.catalogue.shop_data import ShopData
from app.encoding.encoder import Encoder
from app.feedback.state import HistoryEntry, UserState
from app.learning.dataset import interactions
from app.learning.fit import Choices, FitConfig, extend
from app.learning.inputs import encode_inputs
from app.learning.training import TrainingConfig, tower_config
from app.model.towers import Towers
from app.retrieval.snapshot import Snapshot
from app.scenarios.defaults import READY_MADE
from app.serving.live import LiveSnapshot, ServingState
from app.serving.pipeline import draft_slate, explain_slate
from app.serving.reasons.causes import Cause, without
from app.serving.reasons.leave_out import scores_at
from app.serving.rules import Asked
from app.serving.slate import SlateRequest
from app.types import no_progress

NUM_SLATES = 200
NUM_EVENTS = 40  # of a history
SCENARIOS = ("home", "category", "email", "promotion")


@pytest.fixture(scope="module")
def sample_shop() -> ShopData:
    return generate_sample_shop(5, num_items=240, num_users=240).data


@pytest.fixture(scope="module")
def live(sample_shop: ShopData, encoder: Encoder) -> LiveSnapshot:
    data = interactions(sample_shop)
    inputs = encode_inputs(sample_shop, data, encoder, no_progress, READY_MADE)
    torch.manual_seed(3)
    config = FitConfig(training=TrainingConfig(epochs=2, seed=3), encoder_key=encoder.key)
    snapshot: Snapshot = extend(Towers(tower_config(data, inputs)), data, inputs, config, Choices(4), no_progress)
    return ServingState.with_model(encoder, snapshot, list(READY_MADE.values()), {}).current


class Case(NamedTuple):
    row: int
    cited: str
    fall: float
    other_fall: float


def requests(shop: ShopData) -> Iterator[Asked]:
    """Of shoppers with a past, in turn in several scenarios."""
    until = shop.events["occurred_at"].max()
    assert until is not None
    now = until + timedelta(hours=1)  # type: ignore[operator]
    for place, ((user_id,), rows) in enumerate(
        sorted(shop.events.group_by(["user_id"]), key=lambda part: str(part[0]))
    ):
        scenario = READY_MADE[SCENARIOS[place % len(SCENARIOS)]]
        past = rows.sort("occurred_at").tail(NUM_EVENTS).filter(pl.col("type") != "impression")
        entries = [
            HistoryEntry(item_id, kind, at.timestamp(), event_id)
            for item_id, kind, at, event_id in past.select("item_id", "type", "occurred_at", "event_id").iter_rows()
        ]
        request = SlateRequest(scenario.name, user_id=str(user_id), n=8, reasons=True)
        if len({entry.item_id for entry in entries}) > 2:
            yield Asked(request, scenario, None, None, UserState(tuple(entries)), None, True, now, 8)


def score(asked: Asked, live: LiveSnapshot, row: int) -> float:
    """Of one item, in the slate's own ranking."""
    ranking = draft_slate(asked, live).ranking
    assert ranking
    return float(scores_at(ranking, torch.tensor([row]).numpy())[0])


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


def test_without_the_cited_event_the_score_falls_more_than_without_another(
    sample_shop: ShopData, live: LiveSnapshot
) -> None:
    draw = random.Random(11)
    told = (case_of(asked, live, draw) for asked in requests(sample_shop))
    cases = list(islice((case for case in told if case is not None), NUM_SLATES))
    faithful = [case.fall > case.other_fall for case in cases]
    print(f"{sum(faithful)} of {len(cases)} slates")
    assert len(cases) == NUM_SLATES
    assert sum(faithful) >= 0.95 * NUM_SLATES
