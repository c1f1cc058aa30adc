"""Fitting of the fusion: source weights and rank constant per scenario, by NDCG@10 on the validation cut.

Shapes: U users, C candidates of a user (union of the sources), Q sources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from app.retrieval.fusion import UNFITTED, Fusion
from app.types import Float32Array, Int64Array

GRID = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
RANK_CONSTANTS = (5.0, 20.0, 60.0)
SWEEPS = 2
DEPTH = 60  # candidates of each source that the fit looks at
MAX_SHOP_CASES = 1_500  # for the weights of the whole shop; a scenario has its own
DISCOUNT = 1.0 / np.log2(np.arange(2, 12))
MIN_USERS = 50  # a scenario with fewer validation users takes the weights of the whole shop
MIN_TOWER_SHARE = (
    0.1  # of the greatest weight: what only words can find (new items, new users) must be able to reach a slate
)
MARGIN = 0.002  # relative gain of NDCG@10 below which the earlier (simpler) weights stay


class RankTable:
    """Ranks of every candidate in every source, padded to one array, so that a weighting is judged in a few ms.

    rank_UCQ: 1-based, inf where the source did not bring the candidate. hit_UC: is it a target? ideal_U: DCG of the best list.
    Only the first DEPTH of each source are kept: what stands deeper hardly ever reaches ten.
    """

    def __init__(
        self, lists: Sequence[Mapping[str, Int64Array]], targets: Sequence[Int64Array], sources: Sequence[str]
    ) -> None:
        self.sources = tuple(sources)
        heads = [{name: of_user[name][:DEPTH] for name in sources} for of_user in lists]
        unions = [np.unique(np.concatenate(list(of_user.values()))) for of_user in heads]
        shape = (len(lists), max((len(union) for union in unions), default=0))
        self.rank_UCQ = np.full((*shape, len(sources)), np.inf, np.float32)
        self.hit_UC = np.zeros(shape, np.bool_)
        for u, (union, of_user) in enumerate(zip(unions, heads, strict=True)):
            self.hit_UC[u, : len(union)] = np.isin(union, targets[u])
            for q, name in enumerate(sources):
                self.rank_UCQ[u, np.searchsorted(union, of_user[name]), q] = np.arange(1, len(of_user[name]) + 1)
        gains = np.concatenate([[0.0], np.cumsum(DISCOUNT)])
        self.ideal_U = gains[[min(len(wanted), 10) for wanted in targets]]

    def __len__(self) -> int:
        return len(self.ideal_U)

    def subset(self, users: NDArray[np.integer]) -> RankTable:
        table = object.__new__(RankTable)
        table.sources = self.sources
        table.rank_UCQ, table.hit_UC, table.ideal_U = self.rank_UCQ[users], self.hit_UC[users], self.ideal_U[users]
        return table

    def ndcg(self, weights: Sequence[float], rank_constant: float) -> float:
        score_UC: Float32Array = (1.0 / (rank_constant + self.rank_UCQ)) @ np.asarray(weights, np.float32)
        score_UC[score_UC <= 0] = -1.0  # padding, and what only sources of weight 0 brought
        top = np.argpartition(-score_UC, min(10, score_UC.shape[1] - 1), axis=1)[:, :10]
        scores = np.take_along_axis(score_UC, top, 1)
        order = np.take_along_axis(top, np.argsort(-scores, axis=1, kind="stable"), 1)
        hit = np.take_along_axis(self.hit_UC, order, 1) & (np.take_along_axis(score_UC, order, 1) > 0)
        return float(((hit * DISCOUNT[: hit.shape[1]]).sum(1) / self.ideal_U).mean())


def fit_fusion(
    table: RankTable, scenario_U: Sequence[str], cold: RankTable | None = None, num_shop: int | None = None
) -> tuple[Fusion, dict[str, float]]:
    """Weights for the whole shop (""), then for each scenario with enough cases, then for people without a history.

    Also returns NDCG@10 of each source alone and fused. Coordinate ascent over GRID from the prior and from each single source,
    so that the result is never worse on validation than the best single source, but for MIN_TOWER_SHARE.
    cold: the same cases asked without the history. num_shop: how many of the cases, from the first on, stand for the whole shop;
    none given: all.
    """
    if not len(table):
        return Fusion(), {}
    whole, table = table, table.subset(np.arange(min(len(table) if num_shop is None else num_shop, MAX_SHOP_CASES)))
    report = {name: table.ndcg(alone, RANK_CONSTANTS[1]) for name, alone in _alone(table).items()}
    tried = {constant: _climb(table, constant) for constant in RANK_CONSTANTS}
    constant = max(tried, key=lambda k: tried[k][0])
    report["fused"], shop = tried[constant]
    weights = {"": _with_tower(table.sources, shop)}
    names = np.asarray(scenario_U)
    for name in sorted(set(scenario_U) - {""}):
        users = np.flatnonzero(names == name)
        if len(users) >= MIN_USERS:
            part = whole.subset(users)
            own = max((_ascend(part, start, constant) for start in _starts(part, shop)), key=lambda found: found[0])
            weights[name] = _with_tower(table.sources, own[1])
    cold_weights = {}
    if cold is not None:
        cold = cold.subset(np.arange(min(len(cold), MAX_SHOP_CASES)))
        report["fused without history"], found = _climb(cold, constant)
        cold_weights = _with_tower(cold.sources, found)
    return Fusion(weights, cold_weights, constant), report


def _alone(table: RankTable) -> dict[str, list[float]]:
    return {name: [float(name == other) for other in table.sources] for name in table.sources}


def _climb(table: RankTable, constant: float) -> tuple[float, list[float]]:
    starts = _starts(table, [UNFITTED[name] for name in table.sources])
    return max((_ascend(table, start, constant) for start in starts), key=lambda found: found[0])


def _starts(table: RankTable, prior: list[float]) -> list[list[float]]:
    """The prior, and the best single source: never worse than that one, then."""
    return [prior, max(_alone(table).values(), key=lambda alone: table.ndcg(alone, RANK_CONSTANTS[1]))]


def _with_tower(sources: Sequence[str], weights: Sequence[float]) -> dict[str, float]:
    named = dict(zip(sources, weights, strict=True))
    return named | {"two_tower": max(named["two_tower"], MIN_TOWER_SHARE * max(weights))}


def _ascend(table: RankTable, start: Sequence[float], rank_constant: float) -> tuple[float, list[float]]:
    weights, best = list(start), table.ndcg(start, rank_constant)
    for _ in range(SWEEPS):
        for q in range(len(weights)):
            for value in GRID:
                tried = [*weights[:q], value, *weights[q + 1 :]]
                if not any(tried):
                    continue
                score = table.ndcg(tried, rank_constant)
                if score > best * (1 + MARGIN):
                    best, weights = score, tried
    return best, weights
