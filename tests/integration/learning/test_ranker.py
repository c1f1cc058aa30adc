"""The ranker of a sample shop whose shoppers' true wants are known: objectives move what they name, and the figures are told."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch

from app.catalogue.sample_shop import SampleShop, generate_sample_shop
from app.encoding.encoder import Encoder
from app.learning.assembly import replace_manifest
from app.learning.dataset import Interactions, interactions
from app.learning.evaluation.rank import WHOLE_SHOP, Ranker, asks_of
from app.learning.fit import extend
from app.learning.fit_config import Choices, FitConfig
from app.learning.inputs import encode_inputs
from app.learning.ranker_stage import fit_ranker_on
from app.learning.run import figures_of
from app.learning.splits import Split, validation_cut
from app.learning.training import tower_config
from app.learning.training_config import TrainingConfig
from app.model.towers import Towers
from app.retrieval.snapshot import Snapshot
from app.scenarios.defaults import READY_MADE
from app.scenarios.scenario import Objective
from app.types import no_progress

K = 10


class Fitted(NamedTuple):
    shop: SampleShop
    data: Interactions
    inner: Split
    ranker: Ranker


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    shop = generate_sample_shop(5, num_items=240, num_users=700)
    data = interactions(shop.data)
    encoder = Encoder()
    inputs = encode_inputs(shop.data, data, encoder, no_progress, READY_MADE)
    config = FitConfig(
        fusion_cases="next_event",
        training=TrainingConfig(epochs=2, seed=3),
        encoder_key=encoder.key,
        scenarios=READY_MADE,
    )
    inner = validation_cut(data, "temporal", "exclude", 3)
    torch.manual_seed(3)
    towers = Towers(tower_config(data, inputs))
    snapshot = extend(towers, inner.train, inputs, config, Choices(4), no_progress)
    ranked = fit_ranker_on(Ranker(snapshot, data, inputs), data, inner, config, no_progress)
    snapshot = replace_manifest(snapshot, ranker=ranked.parameters)
    return Fitted(shop, data, inner, Ranker(replace(snapshot, ranker_arrays=ranked.arrays), data, inputs))


def worth_of(fitted: Fitted, objective: Objective) -> tuple[float, float]:
    """What the oracle says of the first K: clicks, and the value of what is bought."""
    shop, data, inner, ranker = fitted
    asks = asks_of(inner, WHOLE_SHOP)[:150]
    users = [data.user_ids[ask.user] for ask in asks]
    want_UN = shop.oracle.affinity(users, "home")
    buys_UN = want_UN * shop.oracle.affinity(users, "home")  # a cart needs wanting once more
    price_N = shop.data.items["price"].to_numpy()
    clicks, value = [], []
    snapshot: Snapshot = ranker.snapshot
    for u, found in enumerate(ranker.candidates(inner.train, asks, inner, "exclude", READY_MADE)):
        scores_C, method = snapshot.ordered(found, ranker.space, ranker.table, "", objective, by="ranker")
        assert method == "ranker"
        top = ranker.back_R[found.rows_C[np.argsort(-scores_C, kind="stable")[:K]]]
        clicks.append(want_UN[u, top].sum())
        value.append((buys_UN[u, top] * price_N[top]).sum())
    return float(np.mean(clicks)), float(np.mean(value))


def test_an_objective_moves_what_it_names(fitted: Fitted) -> None:
    clicks_by_click, value_by_click = worth_of(fitted, Objective(click=1))
    clicks_by_value, value_by_value = worth_of(fitted, Objective(click=0, value=1))
    print(f"clicks {clicks_by_click:.3f} / {clicks_by_value:.3f}, value {value_by_click:.2f} / {value_by_value:.2f}")
    assert value_by_value > value_by_click
    assert clicks_by_click > clicks_by_value


def test_what_was_decided_is_told_with_its_figures(fitted: Fitted) -> None:
    told = figures_of(fitted.ranker.snapshot.ranker)
    shop = told["choices"][""]  # type: ignore[index,call-overload]
    assert told["logged_slates"]
    assert set(shop["ndcg@10"]) == {"ranker", "fusion", "standard_error"}
    gain = shop["ndcg@10"]["ranker"] - shop["ndcg@10"]["fusion"]
    chosen = gain >= 0.01 * shop["ndcg@10"]["fusion"] and gain >= 1.645 * shop["ndcg@10"]["standard_error"]
    assert shop["order"] == ("ranker" if chosen else "rank fusion")
    assert {"click", "cart_add"} <= set(shop["log_loss"])
    assert all(of["ece"] < 0.05 for of in told["calibration_error"][""].values())  # type: ignore[index,call-overload]
