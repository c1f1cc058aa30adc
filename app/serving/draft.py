"""A slate in the making: what the steps of the pipeline hand on to each other.

Shapes: C candidates, R rows of the catalogue view.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress, repeat

import numpy as np

from app.retrieval.candidates import Candidates
from app.serving.fallback import Pick
from app.serving.live import LiveSnapshot
from app.serving.ranking import Ranking
from app.serving.reasons.reason import Reason
from app.serving.rules import Admission, Asked, examples_of
from app.serving.slate import RuleReport
from app.types import BoolArray, Float32Array, Int64Array


@dataclass(frozen=True, slots=True)
class Pool:
    """The ranked candidates, best first. rows_C: of the view. scores_C: finite, as the score rules left them. place_C: place of each in
    `found`. marks: score rule -> bool [C], the candidates it raised or lowered on purpose."""

    found: Candidates
    rows_C: Int64Array
    scores_C: Float32Array
    place_C: Int64Array
    marks: Mapping[str, BoolArray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows_C)

    def take(self, where_C: Int64Array | BoolArray) -> Pool:
        marks = {rule: mark_C[where_C] for rule, mark_C in self.marks.items()}
        return Pool(self.found, self.rows_C[where_C], self.scores_C[where_C], self.place_C[where_C], marks)

    def rescored(self, rule: str, scores_C: Float32Array, mark_C: BoolArray) -> Pool:
        """Best first again; ties keep their order."""
        order_C = np.argsort(-scores_C, kind="stable")
        return replace(self, scores_C=scores_C, marks={**self.marks, rule: mark_C}).take(order_C)

    def pick(self, candidate: int) -> Pick:
        return self.picks([candidate])[0]

    def picks(self, candidates: Sequence[int]) -> list[Pick]:
        """In the order given."""
        at_K = np.asarray(candidates, np.int64)
        sources = self.found.sources_at(self.place_C[at_K])
        rules: Iterable[tuple[str, ...]] = repeat(())
        if self.marks:
            marked = zip(*(mark_C[at_K].tolist() for mark_C in self.marks.values()), strict=True)
            rules = (tuple(compress(self.marks, of_rules)) for of_rules in marked)
        rows, scores = self.rows_C[at_K].tolist(), self.scores_C[at_K].tolist()
        return list(map(Pick._make, zip(rows, scores, sources, repeat(1.0), repeat(False), rules, strict=False)))


@dataclass(slots=True)
class Draft:
    """found: what the sources brought, fused. reports: what each rule did, in order. pins: 1-based position ->
    what stands there; picks: all the other places, in order, and after `place_pins` the whole slate. reserve: rows that rotation
    may show. promoted_R: bool [R] of each promotion: what it matches. caps_hold: until there is nothing else to show. reasons: row ->
    why it stands, where that was asked for."""

    asked: Asked
    live: LiveSnapshot
    admission: Admission
    picks: list[Pick] = field(default_factory=list)
    ranking: Ranking | None = None
    pool: Pool | None = None
    pins: dict[int, Pick] = field(default_factory=dict)
    reserve: frozenset[int] = frozenset()
    promoted_R: list[BoolArray] = field(default_factory=list)
    caps_hold: bool = True
    weights: Mapping[str, float] = field(default_factory=dict)
    found: Candidates | None = None
    fallbacks: list[str] = field(default_factory=list)
    reports: list[RuleReport] = field(default_factory=list)
    timings_ms: dict[str, float] = field(default_factory=dict)
    reasons: Mapping[int, Reason] = field(default_factory=dict)

    @property
    def candidates(self) -> Mapping[str, int]:
        """Source -> how many of its proposals the fused list holds."""
        ranks = self.found.ranks if self.found is not None else {}
        return {name: int(np.count_nonzero(rank_C)) for name, rank_C in ranks.items()}

    @property
    def num_open(self) -> int:
        """Places that no pin holds."""
        return self.asked.n - len(self.pins)

    @property
    def is_short(self) -> bool:
        return len(self.picks) < self.num_open and self.num_left > 0

    @property
    def num_left(self) -> int:
        return self.admission.num_allowed - len(self.picks) - len(self.pins)

    @property
    def is_open(self) -> bool:
        """Whether `complete_slate` has anything to do."""
        scenario = self.asked.scenario
        return self.is_short or bool(self.pins or scenario.page_promotions) or self.explores

    @property
    def explores(self) -> bool:
        return self.asked.scenario.exploration > 0 and self.pool is not None and len(self.picks) > 0

    def standing(self) -> list[Pick]:
        return [*self.picks, *self.pins.values()]

    def left_R(self) -> BoolArray:
        left_R = self.admission.allowed_R.copy()
        left_R[[pick.row for pick in self.standing()]] = False
        return left_R

    def rescore(self, rule: str, scores_C: Float32Array, mark_C: BoolArray, *, lowers: bool = False) -> None:
        """New scores of the pool's candidates, as they stand. mark_C: those the rule meant. lowers: tell who left the first places,
        not who came in."""
        assert self.pool is not None
        before_K = self.pool.rows_C[: self.num_open]
        self.pool = self.pool.rescored(rule, scores_C, mark_C)
        after_K = self.pool.rows_C[: self.num_open]
        self.report(
            rule, np.setdiff1d(before_K, after_K) if lowers else np.setdiff1d(after_K, before_K), dropped=lowers
        )

    def report(self, rule: str, rows: Iterable[int], *, dropped: bool = False) -> None:
        """rows: of the items the rule brought into the slate or moved in it, or (dropped) took out."""
        unique = list(dict.fromkeys(int(row) for row in rows))
        examples = examples_of(unique, self.asked, self.live.catalogue)
        num = len(unique)
        self.reports.append(RuleReport(rule, num if dropped else 0, 0 if dropped else num, examples))
