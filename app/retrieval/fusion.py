"""Several ranked lists become one: weighted reciprocal-rank fusion.

score(item) = sum over sources of weight / (k + rank), divided by the best possible, so it lies in 0-1.
Source: Cormack, Clarke & Buettcher 2009; the weights and k are fitted per scenario in `learning.fusion_fit`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from app.retrieval.candidates import Candidates
from app.scenarios.scenario import Weight
from app.types import Int64Array

UNFITTED: Mapping[str, float] = {
    "two_tower": 1.0, "item_cf": 1.0, "matrix_factorisation": 0.5, "content": 0.2, "knowledge_graph": 0.5, "popular": 0.3,
    "repeat": 1.0, "new": 0.05,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fusion:
    """weights: scenario name -> source -> weight; "" stands for every scenario that has none of its own.

    cold: source -> weight for somebody without a history, whatever the scenario: the profile's words and the crowd are all
    there is, so what was fitted on people with a history does not fit them.
    """

    weights: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    cold: Mapping[str, float] = field(default_factory=dict)
    rank_constant: float = 20.0

    def resolve(self, scenario: str, asked: Mapping[str, Weight], *, is_cold: bool = False) -> dict[str, float]:
        """The weight of every source asked for: the number given, or what was learned for "learned". None asked: all learned.

        is_cold: the user has no history.
        """
        learned = (self.cold if is_cold else self.weights.get(scenario) or self.weights.get("")) or UNFITTED
        if not asked:
            return {name: weight for name, weight in learned.items() if weight > 0}
        return {
            name: learned.get(name, 0.0) if weight == "learned" else float(weight) for name, weight in asked.items()
        }

    def fuse(self, lists: Mapping[str, Int64Array], weights: Mapping[str, float], num: int) -> Candidates:
        """lists: source -> rows of one user, best first, without repeats. A source of weight 0 brings nothing."""
        lists = {name: rows for name, rows in lists.items() if weights.get(name, 0.0) > 0}
        if not lists:
            return Candidates(np.empty(0, np.int64), np.empty(0, np.float32), {})
        union_C, place = np.unique(np.concatenate(list(lists.values())), return_inverse=True)
        scores_C = np.zeros(len(union_C))
        ranks, start = {}, 0
        for name, rows in lists.items():
            mine = place[start : start + len(rows)]
            rank = np.arange(1, len(rows) + 1)
            scores_C[mine] += weights[name] / (self.rank_constant + rank)
            ranks[name] = np.zeros(len(union_C), np.int32)
            ranks[name][mine] = rank
            start += len(rows)
        scores_C *= (self.rank_constant + 1) / sum(weights[name] for name in lists)
        order_C = np.argsort(-scores_C, kind="stable")[:num]
        return Candidates(
            union_C[order_C],
            scores_C[order_C].astype(np.float32),
            {name: rank[order_C] for name, rank in ranks.items()},
        )
