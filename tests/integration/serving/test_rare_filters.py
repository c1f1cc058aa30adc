"""Filters that keep 1, 3 or 30 of 100,000 items: every source proposes nothing else, and the slate holds exactly those."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from app.catalogue.records import items_of
from app.catalogue.shop_data import ITEM_SCHEMA
from app.features.items import ItemVocabulary
from app.features.moment import Moment
from app.features.users import KINDS, HistoryItem, fold_users
from app.feedback.state import HistoryEntry, UserState
from app.learning.assembly import assemble
from app.learning.dataset import Interactions
from app.learning.fit_config import Choices, FitConfig
from app.learning.inputs import Inputs, TextRows
from app.learning.sources import DEFAULTS, fit_sources
from app.learning.training import tower_config
from app.model.runner import TowerRunner
from app.model.towers import Towers
from app.retrieval.columns import Columns
from app.retrieval.filters import parse_filter
from app.retrieval.snapshot import Snapshot
from app.retrieval.sources import SOURCE_NAMES
from app.scenarios.defaults import READY_MADE
from app.scenarios.scenario import Scenario
from app.serving.catalogue_view import CatalogueView
from app.serving.live import LiveModel, LiveSnapshot
from app.serving.pipeline import complete_slate, draft_slate
from app.serving.rules import Asked
from app.serving.slate import SlateRequest
from tests.integration.serving.conftest import NOW

N, T, NUM_USERS, PER_USER = 100_000, 32, 3_000, 15
KEPT = (1, 3, 30)


def catalogue() -> pl.DataFrame:
    """`rare`: 1, 3 or 30 of the items; they are spread over the whole catalogue and have events like all others."""
    rng = np.random.default_rng(0)
    rows = {name: [None] * N for name in ITEM_SCHEMA} | {
        "item_id": [f"i{n}" for n in range(N)],
        "title": [f"thing {n}" for n in range(N)],
        "brand": [f"b{n % 400}" for n in range(N)],
        "category": [[f"shelf {n % 50}"] for n in range(N)],
        "tags": [["1", "3", "30"] if n == 777 else ["3", "30"] if n in (5, 99_998) else ["30"] if n % 3_800 == 3 else [] for n in range(N)],
        "price": (rng.random(N) * 100).tolist(),
        "available": [True] * N,
        "created_at": [NOW - timedelta(days=400 - n / N) for n in range(N)],
    }  # fmt: skip
    return pl.DataFrame(rows, schema=ITEM_SCHEMA)


def rare_rows(frame: pl.DataFrame, num: int) -> list[int]:
    return np.flatnonzero(frame["tags"].list.contains(str(num)).to_numpy()).tolist()


def events(rare: list[int]) -> Interactions:
    """Every shopper buys in pairs, and one of the rare items among them."""
    rng = np.random.default_rng(1)
    item_UE = rng.integers(0, N, (NUM_USERS, PER_USER))
    item_UE[:, 4] = rng.choice(rare, NUM_USERS)
    item_UE[:, 3], item_UE[:, 5] = 11, 12
    E = NUM_USERS * PER_USER
    day = np.tile(np.arange(PER_USER) // 2, NUM_USERS)
    return Interactions(
        user_ids=[f"u{u}" for u in range(NUM_USERS)], item_ids=[f"i{n}" for n in range(N)], scenarios=["", "home"],
        user_E=np.repeat(np.arange(NUM_USERS, dtype=np.int32), PER_USER), item_E=item_UE.ravel().astype(np.int32),
        kind_E=np.full(E, KINDS["purchase"], np.int32), scenario_E=np.ones(E, np.int32),
        at_E=NOW.timestamp() - (PER_USER - day) * 86_400.0, weight_E=np.full(E, 3.0, np.float32), queries=[""], query_E=np.zeros(E, np.int32),
    )  # fmt: skip


@pytest.fixture(scope="module")
def shop() -> SimpleNamespace:
    """A snapshot of 100,000 items with every source fitted; the towers are as they start."""
    frame = catalogue()
    items = items_of(frame)
    vocabulary = ItemVocabulary.fit(items)
    rng = np.random.default_rng(2)
    text_NT = rng.normal(size=(N, T)).astype(np.float32)
    data = events(rare_rows(frame, 30))
    profile_UT = TextRows(np.zeros((1, T), np.float32), np.zeros(NUM_USERS, np.int32))
    no_text = np.zeros((2, T), np.float32)
    inputs = Inputs(frame, text_NT, vocabulary.rows(items), vocabulary, profile_UT, no_text, no_text[:0])
    runner = TowerRunner(Towers(tower_config(data, inputs)))
    fitted = fit_sources(data, inputs, DEFAULTS)
    snapshot = assemble(data, inputs, FitConfig(), Choices(0), runner, fitted, {})
    space, table = snapshot.space(), snapshot.scenarios()
    view = CatalogueView(1, Columns.from_frame(frame), snapshot.item_ids, snapshot.row_of)
    model = LiveModel(snapshot, space, np.zeros(0, np.bool_), (), table)
    return SimpleNamespace(
        snapshot=snapshot, space=space, table=table, frame=frame, text_NT=text_NT, live=LiveSnapshot(view, model)
    )


@pytest.mark.parametrize("num", KEPT)
def test_every_source_proposes_what_the_filter_keeps_and_nothing_else(shop: SimpleNamespace, num: int) -> None:
    snapshot: Snapshot = shop.snapshot
    kept = rare_rows(shop.frame, num)
    assert len(kept) == num
    allowed_R = parse_filter({"field": "tags", "contains": str(num)}).mask(shop.live.catalogue.trained, NOW).copy()
    every = np.arange(N)
    moment = Moment(
        trending_rows_K=every, trending_scores_K=np.linspace(1, 0.1, N).astype(np.float32), pinned_rows_K=every[::-1].copy(),
        query_T=shop.text_NT[kept[0]],
    )  # fmt: skip
    at = NOW.timestamp()
    past = [
        HistoryItem(row, KINDS["purchase"], at - 86_400.0 * n) for n, row in enumerate((11, 12, *kept[:20]), start=1)
    ][::-1]
    users = fold_users([past], [at], np.zeros((1, T), np.float32), [1], moments=[moment])
    (found,) = snapshot.find(users, shop.space, shop.table, 200, set(SOURCE_NAMES), allowed_R)
    assert set(found) == set(SOURCE_NAMES)
    for name, (rows, scores) in found.items():
        assert set(rows.tolist()) <= set(kept), name
        assert len(rows) == len(set(rows.tolist())), name
        assert len(rows), name
        assert np.isfinite(scores).all(), name
        assert (np.diff(scores) <= 0).all(), name
    for name in (
        "two_tower",
        "matrix_factorisation",
        "new",
        "trending",
        "editorial",
    ):  # these know something of every item
        assert set(found[name].rows_K.tolist()) == set(kept), name


@pytest.mark.parametrize("num", KEPT)
@pytest.mark.parametrize(
    "scenario", [READY_MADE["home"], *(Scenario(n, "", {n: 1.0}) for n in SOURCE_NAMES)], ids=lambda s: s.name
)
def test_the_slate_holds_exactly_what_the_filter_keeps(shop: SimpleNamespace, num: int, scenario: Scenario) -> None:
    state = UserState(
        history=tuple(HistoryEntry(f"i{row}", "click", NOW.timestamp() - 60, f"e{row}") for row in (11, 12))
    )
    wanted = parse_filter({"field": "tags", "contains": str(num)})
    asked = Asked(SlateRequest(scenario.name), scenario, wanted, None, state, None, True, NOW, 50)
    draft = draft_slate(asked, shop.live)
    complete_slate(draft, [], lambda name: READY_MADE.get(name))
    assert sorted(pick.row for pick in draft.picks) == rare_rows(shop.frame, num)
