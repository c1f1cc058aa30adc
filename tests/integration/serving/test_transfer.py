"""What the guard chose is what a live process serves by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

import numpy as np
import pytest

from app.catalogue.shop_data import ShopData
from app.encoding.encoder import Encoder
from app.features.users import KINDS, HistoryItem, fold_users
from app.feedback.state import UserState
from app.learning.dataset import interactions
from app.learning.inputs import encode_inputs
from app.learning.separate import separate_tower
from app.learning.training_config import TrainingConfig
from app.model.runner import TowerRunner
from app.retrieval.snapshot import Snapshot
from app.retrieval.transfer import Transfer
from app.scenarios.defaults import READY_MADE
from app.scenarios.scenario import Scenario
from app.serving.slate import SlateRequest
from app.types import no_progress
from tests.integration.serving.conftest import Process, Shop
from tests.integration.serving.test_recommender import did, ids

TOWERS_ONLY: Mapping[str, float] = {"two_tower": 1.0}


def choosing(snapshot: Snapshot, transfer: Transfer) -> Snapshot:
    return replace(snapshot, manifest=replace(snapshot.manifest, transfer=asdict(transfer)))


async def slates(process: Process, *scenarios: str) -> list[list[str]]:
    process.shoppers.states["anna"] = UserState(history=did("fish-rod-1", "cook-pan-2", "fish-net-0"))
    return [ids(await process.recommender.recommend(SlateRequest(name, user_id="anna", n=20))) for name in scenarios]


@pytest.fixture
def told_apart(trained: Snapshot, shop: ShopData, encoder: Encoder) -> Snapshot:
    """The shop's model with a strong prior on kitchen ware in `home`, and a tower of its own for `similar`."""
    data = interactions(shop)
    inputs = encode_inputs(shop, data, encoder, no_progress, READY_MADE)
    row = data.scenarios.index("similar")
    config = TrainingConfig(learning_rate=3e-2, seed=1)
    delta = separate_tower(trained.runner.towers, data, inputs, config, row, no_progress)
    prior = np.zeros_like(trained.prior_SN)
    prior[data.scenarios.index("home"), [item.startswith("cook") for item in trained.item_ids]] = 30.0
    return replace(trained, runner=TowerRunner(trained.runner.towers, {"similar": delta}), prior_SN=prior)


def test_what_others_exclude_changes_nobodys_candidates(told_apart: Snapshot) -> None:
    """Where a prior reorders what was found, how much was found matters."""
    prior_SN = np.random.default_rng(5).normal(size=told_apart.prior_SN.shape).astype(np.float32)
    chosen = Transfer({"home": "shared"}, "shared", prior_weights={"home": 3.0})
    snapshot = choosing(replace(told_apart, prior_SN=prior_SN), chosen)
    space, table = snapshot.space(), snapshot.scenarios()
    past = [[HistoryItem(row, KINDS["click"], -60.0)] for row in (3, 40)]
    users = fold_users(past, [0.0, 0.0], np.zeros((2, snapshot.manifest.text_dim), np.float32), [table.row("home")] * 2)
    own, others = np.arange(0, 8), np.arange(20, 60)
    together = snapshot.find(users, space, table, 8, {"two_tower"}, excluded=[own, others])
    for b, excluded in enumerate((own, others)):
        allowed_R = ~np.isin(np.arange(len(space)), excluded)
        alone = snapshot.find(users.take(np.asarray([b])), space, table, 8, {"two_tower"}, allowed_R).of_user(0)
        assert together.of_user(b)["two_tower"].rows_K.tolist() == alone["two_tower"].rows_K.tolist()
        assert len(alone["two_tower"].rows_K) == 8


async def test_a_process_serves_each_scenario_as_the_guard_chose(open_shop: Shop, told_apart: Snapshot) -> None:
    for name in ("home", "similar"):
        await open_shop.scenarios.put(replace(READY_MADE[name], sources=TOWERS_ONLY))
    await open_shop.scenarios.put(Scenario("whole_shop", "", TOWERS_ONLY))
    await open_shop.release(choosing(told_apart, Transfer({"home": "shared", "similar": "shared"}, "shared")), "v2")
    async with open_shop.process() as process:
        whole, home, similar = await slates(process, "whole_shop", "home", "similar")
    assert home == similar == whole  # one list: no scenario is looked at

    chosen = Transfer({"home": "shared", "similar": "separate"}, "shared", prior_weights={"home": 1.0})
    await open_shop.release(choosing(told_apart, chosen), "v3")
    async with open_shop.process() as process:
        whole_now, home, similar = await slates(process, "whole_shop", "home", "similar")
        assert process.live.current.model is not None
        assert process.live.current.model.snapshot.transfer.of("similar") == "separate"
    assert whole_now == whole
    assert all(item_id.startswith("cook") for item_id in home)  # the prior of home
    assert similar != whole  # its own tower
