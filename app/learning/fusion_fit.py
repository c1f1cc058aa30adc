"""Fitting of the fusion: source weights and rank constant per scenario, by NDCG@10 on the validation cut.

Shapes: U users, C candidates of a user (union of the sources), Q sources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from app.learning.evaluation.metrics import per_user
from app.retrieval.fusion import UNFITTED, Fusion
from app.types import Float32Array, Int64Array

GRID = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
RANK_CONSTANTS = (5.0, 20.0, 60.0)
SWEEPS = 2
MIN_USERS = 50  # a scenario with fewer validation users takes the weights of the whole shop
MARGIN = 0.002  # relative gain of NDCG@10 below which the earlier (simpler) weights stay


class RankTable:
    """Ranks of every candidate in every source, padded to one array, so that a weighting is judged in a few ms."""

    def __init__(
        self, lists: Sequence[Mapping[str, Int64Array]], targets: Sequence[Int64Array], sources: Sequence[str]
    ) -> None:
        self.sources, self.targets = tuple(sources), targets
        unions = [np.unique(np.concatenate([of_user[name] for name in sources])) for of_user in lists]
        C = max((len(union) for union in unions), default=0)
        self.rows_UC = np.full((len(lists), C), -1, np.int64)
        self.rank_UCQ = np.full((len(lists), C, len(sources)), np.inf, np.float32)
        for u, (union, of_user) in enumerate(zip(unions, lists, strict=True)):
            self.rows_UC[u, : len(union)] = union
            for q, name in enumerate(sources):
                self.rank_UCQ[u, np.searchsorted(union, of_user[name]), q] = np.arange(1, len(of_user[name]) + 1)

    def subset(self, users: NDArray[np.integer]) -> RankTable:
        table = object.__new__(RankTable)
        table.sources, table.targets = self.sources, [self.targets[u] for u in users.tolist()]
        table.rows_UC, table.rank_UCQ = self.rows_UC[users], self.rank_UCQ[users]
        return table

    def ndcg(self, weights: Sequence[float], rank_constant: float) -> float:
        score_UC: Float32Array = (1.0 / (rank_constant + self.rank_UCQ)) @ np.asarray(weights, np.float32)
        score_UC[self.rows_UC < 0] = -1.0
        order = np.argsort(-score_UC, axis=1, kind="stable")[:, :10]
        return float(per_user(np.take_along_axis(self.rows_UC, order, 1), self.targets)["ndcg@10"].mean())


def fit_fusion(table: RankTable, scenario_U: Sequence[str]) -> tuple[Fusion, dict[str, float]]:
    """Weights for the whole shop (""), then for each scenario with enough users. Also NDCG@10 of each source alone and fused.

    Coordinate ascent over GRID from three kinds of start (prior, each single source), so the result is never worse on
    validation than the best single source.
    """
    if not table.targets:
        return Fusion(), {}
    starts = [[UNFITTED[name] for name in table.sources]]
    starts += [[float(name == other) for other in table.sources] for name in table.sources]
    report = {name: table.ndcg(starts[1 + q], 20.0) for q, name in enumerate(table.sources)}
    tried = {k: max((_ascend(table, start, k) for start in starts), key=lambda found: found[0]) for k in RANK_CONSTANTS}
    constant = max(tried, key=lambda k: tried[k][0])
    score, shop = tried[constant]
    report["fused"] = score
    weights = {"": dict(zip(table.sources, shop, strict=True))}
    names = np.asarray(scenario_U)
    for name in sorted(set(scenario_U) - {""}):
        users = np.flatnonzero(names == name)
        if len(users) >= MIN_USERS:
            own = _ascend(table.subset(users), shop, constant)[1]
            weights[name] = dict(zip(table.sources, own, strict=True))
    return Fusion(weights, constant), report


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
