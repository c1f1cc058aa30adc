"""How well a source alone ranks the validation cut: what the small grids of the sources are searched by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from app.learning.evaluation.metrics import per_user
from app.learning.evaluation.rank import Ranker, asks_of
from app.learning.splits import Repeats, Split
from app.retrieval.sources import CandidateSource, Fitted
from app.types import Json

DEPTH = 10
MAX_SCORES = (
    16_000_000  # users x items of one trial: bounds the grids' time on large catalogues (12,000 items: 1,300 users)
)
MIN_USERS = 500


class Judge:
    """NDCG@10 of sources on the users of a split (on a large catalogue: evenly chosen ones), whose histories are folded once. trials: source -> what was tried."""

    def __init__(self, ranker: Ranker, split: Split, repeats: Repeats) -> None:
        num_users = max(MIN_USERS, MAX_SCORES // max(1, len(ranker.space)))
        if len(split.users) > num_users:
            split = split.subset(np.linspace(0, len(split.users) - 1, num_users).astype(np.int64))
        self._ranker, self._split = ranker, split
        self._batches = list(ranker.batches(split.train, asks_of(split), repeats))
        self._allowed_R = ranker.allowed(split)
        self.repeats = repeats
        self.trials: dict[str, list[Json]] = {}

    def __call__(self, source: CandidateSource, **parameters: Json) -> float:
        """parameters: what the report shall say of this trial."""
        topk_UK = np.full((len(self._split.users), DEPTH), -1, np.int64)
        for batch in self._batches:
            spare = max((len(rows) for rows in batch.excluded), default=0)
            rows_BK, _ = source.find(batch.users, self._ranker.space, DEPTH + spare, self._allowed_R)
            for b, rows in enumerate(rows_BK):
                kept = rows[(rows >= 0) & ~np.isin(rows, batch.excluded[b])][:DEPTH]
                topk_UK[batch.place + b, : len(kept)] = self._ranker.back_R[kept]
        score = float(per_user(topk_UK, self._split.targets)["ndcg@10"].mean())
        self.trials.setdefault(source.name, []).append({**parameters, "ndcg@10": round(score, 5)})
        return score

    def best(self, build: Callable[[Fitted], CandidateSource], tried: Iterable[Fitted]) -> Fitted:
        """The one that ranks best; of equals the earlier. `tried` is consumed one by one, so that a lazy one keeps two alive."""
        best_score, best = -1.0, Fitted()
        for fitted in tried:
            score = self(build(fitted), **fitted.parameters)
            if score > best_score:
                best_score, best = score, fitted
        return best

    def one_by_one(
        self, build: Callable[[Fitted], CandidateSource], start: Fitted, steps: Mapping[str, Sequence[Json]]
    ) -> Fitted:
        """One parameter after the other, each from the best so far: for parameters that leave the arrays as they are."""
        best = start
        for name, values in steps.items():
            tried = [replace(best, parameters={**best.parameters, name: value}) for value in values]
            best = self.best(build, tried)
        return best
