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

from app.features.moment import NO_MOMENT, Moment
from app.features.ranking import FEATURES
from app.model.ranker_runner import RankerRunner
from app.retrieval.sources.moment import EDITORIAL, QUERY
from app.retrieval.sources.source import Fitted
from app.scenarios.scenario import Objective, Weight
from app.types import Float32Array

HEADS = ("click", "cart_add", "purchase")
Method = Literal["ranker", "fusion", "rank fusion"]
WHOLE_SHOP, COLD = "", "without history"  # keys of `choices` beside the scenarios
LEAST_CHANCE = 1e-7
MAX_LOGIT = np.float32(60.0)  # beyond it a chance is 0 or 1 to every digit there is


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
        given = objective or Objective(**self._of_scenario("objective", scenario))
        return worth(chances_HC, given, price_C, float(self._part("median_price") or 1.0))

    def chances(self, features_FC: Float32Array, scenario: str, scenario_G: Float32Array) -> Float32Array:
        """Calibrated p_click, p_cart, p_buy [H, C], 0-1."""
        assert self.runner is not None
        log_HC = log_chances(self.runner.logits(features_FC, scenario_G))
        curves = self._of_scenario("calibration", scenario)
        slope_offset_H2 = np.asarray([curves.get(head, (1.0, 0.0)) for head in HEADS], np.float32)
        return calibrated(log_HC, slope_offset_H2)

    def _choice(self, scenario: str, is_cold: bool) -> Mapping[str, Any]:
        return self._of_scenario("choices", COLD if is_cold else scenario)

    def _of_scenario(self, part: str, scenario: str) -> Mapping[str, Any]:
        held: Mapping[str, Any] = self._part(part) or {}
        found: Mapping[str, Any] = held.get(scenario) or ({} if scenario == COLD else held.get(WHOLE_SHOP)) or {}
        return found

    def _part(self, name: str) -> Any:
        return self.fitted.parameters.get(name)


def log_chances(logits_HC: Float32Array) -> Float32Array:
    """Log of p_click, p_cart, p_buy [H, C] from the logits of p_click, p(cart | click), p(buy | click)."""
    log_HC: Float32Array = np.minimum(logits_HC, np.float32(0.0))
    log_HC -= np.log1p(np.exp(-np.abs(logits_HC)))  # `logaddexp` takes five times as long
    log_HC[1:] += log_HC[0]
    return log_HC


def calibrated(log_HC: Float32Array, slope_offset_H2: Float32Array) -> Float32Array:
    """Platt's curve (1999) on the logit of each chance."""
    log_HC = np.minimum(log_HC, np.float32(-LEAST_CHANCE))
    logit_HC = log_HC - np.log(-np.expm1(log_HC))
    logit_HC *= slope_offset_H2[:, :1]
    logit_HC += slope_offset_H2[:, 1:]
    logit_HC = np.minimum(np.maximum(logit_HC, -MAX_LOGIT), MAX_LOGIT)
    chances_HC: Float32Array = (1.0 / (1.0 + np.exp(-logit_HC))).astype(np.float32)
    return chances_HC


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
    return all(weight == "learned" for name, weight in asked.items() if name not in (EDITORIAL, QUERY))
