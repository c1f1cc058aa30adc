"""The ranker of a snapshot: features → heads → calibrated chances → one score by the scenario's objective.

Serves only where validation said so: `choices` hold, for each scenario and for people without a history, what orders there and
why. Shapes: C candidates, K of them, H heads, N trained items, S scenarios.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numba import types

from app.compiled import compiled, reads, writes
from app.features.moment import NO_MOMENT, Moment
from app.features.ranking import FEATURES, Shopper
from app.model.ranker_runner import HEADS, RankerRunner
from app.retrieval.candidates import Candidates
from app.retrieval.sources.moment import EDITORIAL, QUERY
from app.retrieval.sources.source import Fitted
from app.scenarios.scenario import Objective, Weight
from app.types import Float32Array, Int64Array

Method = Literal["ranker", "fusion", "rank fusion"]
WHOLE_SHOP, COLD = "", "without history"  # keys of `choices` beside the scenarios
CERTAIN = np.float32(16.1181)  # logit of a chance of 1 - 1e-7
LARGEST = np.finfo(np.float32).max
UNMOVED = (1.0, 0.0)
MAX_LOGIT = np.float32(60.0)  # beyond it a chance is 0 or 1 to every digit there is


class Unordered(NamedTuple):
    """Candidates whose order is asked for. found: from `Snapshot.recommend(…, for_ranking=True)`, else the fusion stands. at_K: places to
    score, the others are left out. price_C: as of now, of the candidates scored; none given: as of the item space. by: what is to make the
    scores; none given: what validation chose."""

    found: Candidates
    scenario: str
    objective: Objective | None = None
    at_K: Int64Array | None = None
    price_C: Float32Array | None = None
    by: Method | None = None

    @property
    def shopper(self) -> Shopper:
        """Who asked."""
        assert self.found.shopper, "not found for ranking"
        return self.found.shopper

    @property
    def rows_C(self) -> Int64Array:
        return self.found.rows_C if self.at_K is None else self.found.rows_C[self.at_K]

    @property
    def fused_C(self) -> Float32Array:
        return self.found.scores_C if self.at_K is None else self.found.scores_C[self.at_K]


class Order(NamedTuple):
    """scores_C: finite, higher is better. method: what made them, for people."""

    scores_C: Float32Array
    method: str


@dataclass(frozen=True)
class SlateRanker:
    """fitted.parameters: `features` (names), `choices` (scenario -> what serves there), `calibration` (scenario -> head -> slope and
    offset on the logit), `objective` (scenario -> head -> weight, where the scenario gives none), `home` (country), `median_price`.
    fitted.arrays: of `RankerNet.arrays`; none where there was too little to fit one."""

    fitted: Fitted

    @cached_property
    def runner(self) -> RankerRunner | None:
        """None: nothing was fitted, or by a release with other features."""
        if not self.fitted.arrays or tuple(self._part("features") or ()) != FEATURES:
            return None
        return RankerRunner(self.fitted.arrays)

    @property
    def home(self) -> str:
        return str(self._part("home") or "")

    def method(self, scenario: str, objective: Objective | None, is_cold: bool, moment: Moment = NO_MOMENT) -> Method:
        """What validation chose. A scenario with too few cases of its own goes by the whole shop. What is asked for in words is ordered by
        the fusion, which knows what words weigh, unless the ranker has learned from such requests."""
        choice = self._choice(scenario, is_cold)
        served = choice.get("objective" if objective is not None else "order", "fusion")
        in_words = moment.not_like_XT is not None or (moment.query_T is not None and not self._part("knows_words"))
        if served == "ranker" and (self.runner is None or in_words):
            served = "fusion"
        return served  # type: ignore[no-any-return]

    def scores(
        self,
        features_FC: Float32Array,
        scenario: str,
        scenario_G: Float32Array,
        objective: Objective | None,
        price_C: Float32Array | None,
    ) -> Float32Array:
        """float32 [C] above 0: the objective's weights times the chances; none given: those learned."""
        chances_HC = self.chances(features_FC, scenario, scenario_G)
        given = objective or self._learned_objective(scenario)
        return worth(chances_HC, given, price_C, float(self._part("median_price") or 1.0))

    def chances(self, features_FC: Float32Array, scenario: str, scenario_G: Float32Array) -> Float32Array:
        """Calibrated p_click, p_cart, p_buy [H, C], 0-1."""
        assert self.runner is not None
        return calibrated(whole_logits(self.runner.logits(features_FC, scenario_G)), self._curves(scenario))

    def _curves(self, scenario: str) -> Float32Array:
        """Slope and offset of each head [H, 2]."""
        curves = self._of_scenario("calibration", scenario)
        return np.asarray([curves.get(head, UNMOVED) for head in HEADS], np.float32)

    def _learned_objective(self, scenario: str) -> Objective:
        return Objective(**self._of_scenario("objective", scenario))

    def _choice(self, scenario: str, is_cold: bool) -> Mapping[str, Any]:
        return self._of_scenario("choices", COLD if is_cold else scenario)

    def _of_scenario(self, part: str, scenario: str) -> Mapping[str, Any]:
        held: Mapping[str, Any] = self._part(part) or {}
        found: Mapping[str, Any] = held.get(scenario) or ({} if scenario == COLD else held.get(WHOLE_SHOP)) or {}
        return found

    def _part(self, name: str) -> Any:
        return self.fitted.parameters.get(name)


def whole_logits(logits_HC: Float32Array) -> Float32Array:
    """Logits of p_click, p_cart, p_buy [H, C] from those of p_click, p(cart | click), p(buy | click): the odds against two things
    together are a + b + ab, where a and b are the odds against each. At least the logit of the smallest float32."""
    against_HC = np.empty_like(logits_HC)
    _negate(against_HC, logits_HC)
    np.exp(against_HC, out=against_HC)
    _join(against_HC)
    np.log(against_HC, out=against_HC)
    return np.negative(against_HC, out=against_HC)


def calibrated(logits_HC: Float32Array, slope_offset_H2: Float32Array) -> Float32Array:
    """Chances, by Platt's curve (1999) on the logit of each."""
    against_HC = np.empty_like(logits_HC)
    _move(against_HC, logits_HC, slope_offset_H2)
    np.exp(against_HC, out=against_HC)
    against_HC += np.float32(1.0)
    return np.reciprocal(against_HC, out=against_HC)


@compiled(types.void(writes("f4", 2), reads("f4", 2)))
def _negate(out_HC: Float32Array, logits_HC: Float32Array) -> None:
    for h in range(len(out_HC)):
        for c in range(out_HC.shape[1]):
            out_HC[h, c] = -min(max(logits_HC[h, c], -MAX_LOGIT), MAX_LOGIT)


@compiled(types.void(writes("f4", 2)))
def _join(against_HC: Float32Array) -> None:
    """Odds against a click and, of the other heads, against the rest: those against both."""
    for h in range(1, len(against_HC)):
        for c in range(against_HC.shape[1]):
            click, rest = against_HC[0, c], against_HC[h, c]
            against_HC[h, c] = min(click + rest + click * rest, LARGEST)


@compiled(types.void(writes("f4", 2), reads("f4", 2), reads("f4", 2)))
def _move(out_HC: Float32Array, logits_HC: Float32Array, slope_offset_H2: Float32Array) -> None:
    """Logits against, by the curves."""
    for h in range(len(out_HC)):
        slope, offset = slope_offset_H2[h, 0], slope_offset_H2[h, 1]
        for c in range(out_HC.shape[1]):
            moved = slope * min(logits_HC[h, c], CERTAIN) + offset
            out_HC[h, c] = -min(max(moved, -MAX_LOGIT), MAX_LOGIT)


def worth(
    chances_HC: Float32Array, objective: Objective, price_C: Float32Array | None, usual_price: float = 1.0
) -> Float32Array:
    """float32 [C]: click · p_click + cart_add · p_cart + purchase · p_buy + value · p_buy · price. price_C: None where
    the objective asks for no value. usual_price: of an item without one."""
    weight_H = np.asarray([objective.click, objective.cart_add, objective.purchase], np.float32)
    scores_C: Float32Array = weight_H @ chances_HC
    if objective.value:
        assert price_C is not None
        known_C = np.where(np.isfinite(price_C), price_C, np.float32(usual_price))
        scores_C = scores_C + np.float32(objective.value) * chances_HC[2] * known_C
    return scores_C.astype(np.float32, copy=False)


def weights_are_learned(asked: Mapping[str, Weight]) -> bool:
    """Whether a scenario leaves the weights of its sources to validation. Where it gives one, the fusion by exactly those stands."""
    given = [weight for name, weight in asked.items() if name not in (EDITORIAL, QUERY)]
    return given.count("learned") == len(given)
