"""How well a source alone ranks the validation cut: what the small grids of the sources are searched by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from app.learning.dataset import Interactions
from app.learning.evaluation.metrics import per_user
from app.learning.evaluation.rank import WHOLE_SHOP, Ask, Batch, Ranker, asks_of
from app.learning.next_events import Cases
from app.learning.splits import Repeats, Split
from app.retrieval.sources import CandidateSource, Fitted
from app.types import BoolArray, Int64Array, Json

DEPTH = 10
MAX_SCORES = (
    16_000_000  # users x items of one trial: bounds the grids' time on large catalogues (12,000 items: 1,300 users)
)
MIN_USERS = 500


@dataclass(frozen=True)
class _Folded:
    """Asks folded once, and what each wanted."""

    batches: Sequence[Batch]
    targets: Sequence[Int64Array]


class Judge:
    """NDCG@10 of sources on some cases (on a large catalogue: evenly chosen ones), whose histories are folded once. trials: source ->
    what was tried. with_repeats: a judge on cases in which past items are wanted again, where this one has none.

    by_scenario: further cases, for what a source knows of scenarios: see `best_in_scenarios`.
    """

    def __init__(
        self,
        ranker: Ranker,
        log: Interactions,
        cases: Cases,
        repeats: Repeats,
        allowed_R: BoolArray,
        with_repeats: Judge | None = None,
        by_scenario: Mapping[str, Cases] | None = None,
    ) -> None:
        asks, targets = cases
        num_cases = max(MIN_USERS, MAX_SCORES // max(1, len(ranker.space)))
        chosen = np.linspace(0, len(asks) - 1, min(num_cases, len(asks))).astype(np.int64).tolist()
        self._ranker, self._log = ranker, log
        self._allowed_R = allowed_R
        self.repeats = repeats
        self._by_scenario = dict(by_scenario or {})
        self._cases = self._fold([asks[place] for place in chosen], [targets[place] for place in chosen])
        self.with_repeats = with_repeats
        self.trials: dict[str, list[Json]] = {} if with_repeats is None else with_repeats.trials

    @classmethod
    def of_split(
        cls, ranker: Ranker, split: Split, repeats: Repeats, with_repeats: Judge | None = None,
        by_scenario: Mapping[str, Cases] | None = None,
    ) -> Judge:  # fmt: skip
        """Everybody is asked for in the whole shop, for what is wanted anywhere."""
        cases = (asks_of(split, WHOLE_SHOP), list(split.targets))
        return cls(ranker, split.train, cases, repeats, ranker.allowed(split), with_repeats, by_scenario)

    def __call__(self, source: CandidateSource, **parameters: Json) -> float:
        """parameters: what the report shall say of this trial."""
        score = self._ndcg(source, self._cases)
        self.trials.setdefault(source.name, []).append({**parameters, "ndcg@10": round(score, 5)})
        return score

    def _fold(self, asks: list[Ask], targets: list[Int64Array]) -> _Folded:
        return _Folded(list(self._ranker.batches(self._log, asks, self.repeats)), targets)

    def _ndcg(self, source: CandidateSource, cases: _Folded) -> float:
        topk_UK = np.full((len(cases.targets), DEPTH), -1, np.int64)
        for batch in cases.batches:
            spare = max((len(rows) for rows in batch.excluded), default=0)
            rows_BK, _ = source.find(batch.users, self._ranker.space, DEPTH + spare, self._allowed_R)
            for b, rows in enumerate(rows_BK):
                kept = rows[(rows >= 0) & ~np.isin(rows, batch.excluded[b])][:DEPTH]
                topk_UK[batch.place + b, : len(kept)] = self._ranker.back_R[kept]
        return float(per_user(topk_UK, cases.targets)["ndcg@10"].mean())

    @cached_property
    def _scenarios(self) -> Sequence[_Folded]:
        return [self._fold(*cases) for cases in self._by_scenario.values()]

    def best_in_scenarios(self, build: Callable[[Fitted], CandidateSource], tried: Iterable[Fitted]) -> Fitted:
        """The one with the best mean over the scenarios, each judged by what is wanted there; the first where there are no cases."""
        best_score, best = -1.0, Fitted()
        for fitted in tried:
            if not self._by_scenario:
                return fitted
            source = build(fitted)
            score = float(np.mean([self._ndcg(source, cases) for cases in self._scenarios]))
            said = {**fitted.parameters, "macro ndcg@10 of scenarios": round(score, 5)}
            self.trials.setdefault(source.name, []).append(said)
            if score > best_score:
                best_score, best = score, fitted
        return best

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
