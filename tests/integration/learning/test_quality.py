"""The model against what it must beat: the sample shop's oracle, and popularity and item-CF on real data."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from app.catalogue.loading import read_shop_data
from app.catalogue.sample_shop import generate_sample_shop
from app.encoding.encoder import Encoder
from app.learning.dataset import interactions
from app.learning.evaluation.evaluate import EvaluateConfig, evaluate
from app.learning.evaluation.metrics import per_user
from app.learning.evaluation.peers import PEERS
from app.learning.evaluation.peers.peer import rank
from app.learning.evaluation.rank import Ranker
from app.learning.fit import fit
from app.learning.fit_config import FitConfig
from app.learning.inputs import encode_inputs
from app.learning.splits import temporal
from app.learning.training_config import TrainingConfig
from app.retrieval.index import best
from app.scenarios.defaults import READY_MADE
from app.types import no_progress

JUDGED = ("popularity", "item_knn", "duoscene")

HELD_OUT_RATIO = 0.2


def ndcg(topk: np.ndarray, targets: list[np.ndarray]) -> float:
    return float(per_user(topk, targets)["ndcg@10"].mean())


def test_the_sample_shop_is_learned_to_four_fifths_of_what_can_be_known() -> None:
    """On shoppers whose events training never saw: their past is their history, their last tenth of time the target."""
    shop = generate_sample_shop(20_260_101)
    data = interactions(shop.data)
    split = temporal(data)
    inputs = encode_inputs(shop.data, data, Encoder(), no_progress, READY_MADE)
    held_U = np.random.default_rng(0).random(len(data.user_ids)) < HELD_OUT_RATIO
    judged = split.subset(np.flatnonzero(held_U[split.users]))
    targets = list(judged.targets)

    affinity_UN = shop.oracle.affinity([data.user_ids[user] for user in judged.users.tolist()], "home").copy()
    assert list(shop.oracle.item_ids) == list(data.item_ids)
    for place, user in enumerate(judged.users.tolist()):
        affinity_UN[place, split.train.item_E[split.train.of(user)]] = -np.inf
    oracle = ndcg(best(affinity_UN, 10)[0], targets)

    config = FitConfig(training=TrainingConfig(seed=1))
    snapshot = fit(split.train.where(~held_U[split.train.user_E]), inputs, config, no_progress)
    home = data.scenarios.index("home")
    ours = ndcg(Ranker(snapshot, data, inputs).rank(judged, 10, "exclude", scenario=home, anywhere=True), targets)
    peer = PEERS["popularity"]
    crowd = peer.family.fit(judged.train, peer.defaults, "exclude", 0, no_progress)
    popularity = ndcg(rank(crowd, judged, 10, "exclude"), targets)

    print(
        f"NDCG@10 of {len(targets)} held-out shoppers: oracle {oracle:.4f}, ours {ours:.4f}, popularity {popularity:.4f}"
    )
    assert ours >= 0.8 * oracle
    assert popularity < 0.5 * oracle


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("ml-100k", EvaluateConfig(min_value=4.0, models=JUDGED, training=TrainingConfig(epochs=5))),
        ("online-retail", EvaluateConfig(events=("purchase",), models=JUDGED, training=TrainingConfig(epochs=1))),
    ],
)
def test_ahead_of_popularity_and_item_knn_on_real_data(
    name: str, config: EvaluateConfig, public_data: Callable[[str], Path]
) -> None:
    result = evaluate(read_shop_data(public_data(name)), Encoder(), config, no_progress)
    found = {model: of["all"]["ndcg@10"]["mean"] for model, of in result.report["models"].items()}
    print(name, {model: round(value, 4) for model, value in found.items()})
    assert found["duoscene"] > found["popularity"]
    assert found["duoscene"] > found["item_knn"]
    assert result.topk is not None
    assert_slates_are_whole(result.topk, result.report["split"]["judged_users"])


def assert_slates_are_whole(topk: pl.DataFrame, num_users: int) -> None:
    """20 different items a user, ranked 1 to 20 by falling score."""
    per_slate = topk.group_by("user_id").agg(
        pl.len().alias("n"), pl.col("item_id").n_unique().alias("different"), pl.col("rank").sort().alias("ranks"),
        pl.col("score").sort_by("rank").diff().drop_nulls().max().alias("rise"),
    )  # fmt: skip
    assert len(per_slate) == num_users
    assert (per_slate["n"] == 20).all()
    assert (per_slate["different"] == 20).all()
    assert per_slate["ranks"].to_list() == [list(range(1, 21))] * num_users
    assert per_slate["rise"].max() <= 0
