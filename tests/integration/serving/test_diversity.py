"""What diversity costs and gives, where it is known what every shopper wants: the sample shop and its oracle."""

from __future__ import annotations

from itertools import islice, pairwise

import numpy as np

from app.catalogue.sample_shop import SampleShop
from app.feedback.state import UserState
from app.retrieval.likeness import likeness_vectors
from app.scenarios.defaults import READY_MADE
from app.serving.live import LiveSnapshot
from app.serving.slate import SlateRequest
from tests.integration.serving.sample import pasts
from tests.integration.serving.slates import draft_of, ids_of

STEPS = (0.0, 0.25, 0.5, 0.75, 1.0)
NUM_SHOPPERS, LENGTH = 80, 10
HOME = READY_MADE["home"]
DISCOUNT = 1.0 / np.log2(np.arange(2, LENGTH + 2))


def test_diversity_trades_what_is_wanted_for_difference_step_by_step(
    sample_shop: SampleShop, sample_live: LiveSnapshot
) -> None:
    """NDCG@10 by the probability that the oracle gives to wanting each item; intra-list distance 1 - cosine, mean over the pairs."""
    oracle = sample_shop.oracle
    column_of = {item_id: column for column, item_id in enumerate(oracle.item_ids)}
    shoppers = list(islice(pasts(sample_shop.data), NUM_SHOPPERS))
    wanted_UN = oracle.affinity([user_id for user_id, _, _ in shoppers], HOME.name)
    ideal_U = -np.sort(-wanted_UN, axis=1)[:, :LENGTH] @ DISCOUNT
    ndcg_DU, distance_DU = np.zeros((2, len(STEPS), len(shoppers)))
    for d, diversity in enumerate(STEPS):
        for u, (user_id, now, entries) in enumerate(shoppers):
            request = SlateRequest(HOME.name, user_id=user_id, n=LENGTH, diversity=diversity)
            draft = draft_of(sample_live, HOME, request, UserState(entries), now=now)
            gains_K = wanted_UN[u, [column_of[item_id] for item_id in ids_of(draft)]]
            ndcg_DU[d, u] = gains_K @ DISCOUNT / ideal_U[u]
            distance_DU[d, u] = distance(sample_live, [pick.row for pick in draft.picks])
    ndcg_D, distance_D = ndcg_DU.mean(1), distance_DU.mean(1)
    print("\ndiversity  NDCG@10  intra-list distance")
    for step, ndcg, apart in zip(STEPS, ndcg_D, distance_D, strict=True):
        print(f"{step:9.2f}  {ndcg:7.4f}  {apart:19.4f}")
    assert all(less > more for less, more in pairwise(ndcg_D))
    assert all(less < more for less, more in pairwise(distance_D))


def distance(live: LiveSnapshot, rows: list[int]) -> float:
    assert live.model
    vectors_KV = likeness_vectors(live.model.snapshot, live.model.space, np.asarray(rows))
    K = len(rows)
    return 1.0 - float((vectors_KV @ vectors_KV.T).sum() - K) / (K * (K - 1))
