"""Sources that learn nothing: what sells now, what the editors pinned, what was asked for in words. See `features.moment`.

Shapes: B users, K candidates, R rows of the space, X phrases, T text, P projected.
"""

from __future__ import annotations

import numpy as np

from app.features.users import UserBatch
from app.retrieval.index import Neighbours
from app.retrieval.sources.content import ContentSource
from app.retrieval.sources.lists import stack
from app.retrieval.space import ItemSpace
from app.types import BoolArray, Float32Array, Int64Array

PLACEMENT_SHRINKAGE = 20.0  # event weight by which a placement's own trend is pulled to the whole shop's
UNLIKE_FROM, UNLIKE_TO, UNLIKE_LEAST = (
    1.0,
    3.0,
    0.1,
)  # standard deviations above the catalogue's likeness to a phrase; least factor
SAMPLE = 1_000  # items by which the catalogue's likeness to a phrase is estimated
EDITORIAL, QUERY, TRENDING = "editorial", "query", "trending"


class TrendingSource:
    name = TRENDING

    def find(self, users: UserBatch, space: ItemSpace, num: int, allowed_R: BoolArray | None) -> Neighbours:
        """Those who ask in one placement share one trend, which is looked through once."""
        kept: dict[int, tuple[Int64Array, Float32Array]] = {}
        for m in users.moments():
            if id(m.trending_rows_K) not in kept:
                kept[id(m.trending_rows_K)] = _kept(m.trending_rows_K, m.trending_scores_K, space, num, allowed_R)
        return stack([kept[id(m.trending_rows_K)] for m in users.moments()])


class EditorialSource:
    """Pins, the first position first. Where they stand in the end is a rule of the slate."""

    name = EDITORIAL

    def find(self, users: UserBatch, space: ItemSpace, num: int, allowed_R: BoolArray | None) -> Neighbours:
        lists = []
        for moment in users.moments():
            rows_K = moment.pinned_rows_K
            falling_K = 1.0 / np.arange(1, len(rows_K) + 1, dtype=np.float32)
            lists.append(_kept(rows_K, falling_K, space, num, allowed_R))
        return stack(lists)


class QuerySource:
    """Items whose text is nearest to the query, new ones included, in the space of the content source."""

    name = QUERY

    def __init__(self, content: ContentSource) -> None:
        self._content = content
        every = np.linspace(0, max(content.num_items - 1, 0), min(content.num_items, SAMPLE)).astype(np.int64)
        self._sample_SP = content.vectors(every)

    def find(self, users: UserBatch, space: ItemSpace, num: int, allowed_R: BoolArray | None) -> Neighbours:
        queries = {b: m.query_T for b, m in enumerate(users.moments()) if m.query_T is not None}
        asked = list(queries)
        rows_BK = np.full((len(users), min(num, len(space))), -1, np.int64)
        scores_BK = np.full(rows_BK.shape, -np.inf, np.float32)
        if asked:
            query_BT = np.stack(list(queries.values()))
            rows, scores = self._content.nearest(self._content.project(query_BT), space, num, allowed_R)
            rows_BK[asked, : rows.shape[1]], scores_BK[asked, : rows.shape[1]] = rows, scores
        return rows_BK, scores_BK

    def unlike(self, phrases_XT: Float32Array, rows_C: Int64Array, space: ItemSpace) -> Float32Array:
        """What a score is multiplied by [C]: 1 for an item that is like none of the phrases, falling to UNLIKE_LEAST. Likeness is
        measured against what is usual in this catalogue, because a short phrase is somewhat like everything."""
        phrases_XP = self._content.project(phrases_XT)
        usual_XS = phrases_XP @ self._sample_SP.T
        spread_X1 = np.maximum(usual_XS.std(1, keepdims=True), 1e-6)
        above_XC = (phrases_XP @ self._content.vectors(rows_C, space).T - usual_XS.mean(1, keepdims=True)) / spread_X1
        share_C = np.clip((above_XC.max(0) - UNLIKE_FROM) / (UNLIKE_TO - UNLIKE_FROM), 0.0, 1.0)
        share_C = np.nan_to_num(share_C, nan=0.0)  # a phrase whose vector is no number forbids nothing
        factor_C: Float32Array = (1.0 - (1.0 - UNLIKE_LEAST) * share_C).astype(np.float32)
        return factor_C


def blend_trends(
    own: tuple[Int64Array, Float32Array], shop: tuple[Int64Array, Float32Array]
) -> tuple[Int64Array, Float32Array]:
    """The trend of one placement, pulled to the shop's where it has few events: rows and shares, best first.

    own, shop: rows without repeats and their event weights.
    """
    (own_rows, own_weights), (shop_rows, shop_weights) = own, shop
    rows, place = np.unique(np.concatenate([own_rows, shop_rows]), return_inverse=True)
    shop_shares = shop_weights * (PLACEMENT_SHRINKAGE / max(float(shop_weights.sum()), 1e-9))
    weight = np.bincount(place, np.concatenate([own_weights, shop_shares]), len(rows))
    order = np.argsort(-weight, kind="stable")
    share = weight[order] / (float(own_weights.sum()) + PLACEMENT_SHRINKAGE)
    return rows[order].astype(np.int64), share.astype(np.float32)


def _kept(
    rows_K: Int64Array, scores_K: Float32Array, space: ItemSpace, num: int, allowed_R: BoolArray | None
) -> tuple[Int64Array, Float32Array]:
    """Rows that retrieval knows and may return; the catalogue can be ahead of the space."""
    kept_K = (rows_K >= 0) & (rows_K < len(space))
    if allowed_R is not None:
        kept_K[kept_K] = allowed_R[rows_K[kept_K]]
    return rows_K[kept_K][:num], scores_K[kept_K][:num]
