"""Fitting of the ranker, and the evidence on whether it may serve.

Two nets are trained, each on the cases of half of the shoppers, and score the other half's: everything that is decided or reported
(who orders where, calibration, its error, weights of the heads) is read off those scores. The net that serves is trained on all.

Shapes: U cases, C candidates, K of them, B cases of a step, F features, G scenario text, H heads, X pairs of case and candidate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from app.features.ranking import FEATURES
from app.learning.ranker_cases import RankerCases
from app.learning.ranker_heads import beliefs, believe, settle_heads
from app.learning.ranker_training import train
from app.learning.ranker_verdict import Judged, calibrate, choose, learned_objectives, score, settled
from app.model.ranker import NUM_HEADS
from app.model.ranker_runner import HEADS
from app.retrieval.ranker import COLD, WHOLE_SHOP
from app.types import Float32Array, Json, Progress

MIN_CASES = 300  # with an act among the candidates, below which nothing is fitted
MIN_USERS = 10


@dataclass(frozen=True)
class RankerFit:
    """As `SlateRanker` holds it. Nothing fitted: no arrays, and `choices` say why."""

    parameters: Mapping[str, Json] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)


def fit_ranker(
    cases: RankerCases, scenario_names: Sequence[str], scenario_text_SG: Float32Array, without: str, seed: int,
    progress: Progress, *, exclude_had: bool, home: str = "", median_price: float = 1.0,
) -> RankerFit:  # fmt: skip
    """without: what orders where the ranker does not, "fusion" or "rank fusion". exclude_had: judged without the shopper's past items, as
    the protocol has it."""
    useful_U = cases.labels_UCH[..., 0].any(1) & ~cases.cold_U  # strangers are copies
    users, user_U = np.unique(cases.user_U, return_inverse=True)
    if int(useful_U.sum()) < MIN_CASES or len(users) < MIN_USERS:
        why = (
            f"{int(useful_U.sum())} cases by {len(users)} users; {MIN_CASES} by {MIN_USERS} are needed to fit a ranker"
        )
        progress("ranker", 1.0, f"ranker: {why}; {without} orders")
        return RankerFit({"choices": {WHOLE_SHOP: {"order": without, "objective": without, "why": why}}})
    torch.manual_seed(seed)
    half_U = np.random.default_rng(seed).permutation(len(users))[user_U] % 2
    judged = Judged(cases, *np.zeros((2, *cases.known_UC.shape, NUM_HEADS), np.float32))
    epochs = []
    for half in (0, 1):
        net, num_epochs = train(cases.subset(half_U != half), scenario_text_SG, seed + half)
        epochs.append(num_epochs)
        score(net, judged, np.flatnonzero(half_U == half), scenario_text_SG)
        progress("ranker", 0.5 + 0.15 * (half + 1))
    net, _ = train(cases, scenario_text_SG, seed, max(1, round(float(np.mean(epochs)))))
    believed = beliefs(judged)
    believe(judged, believed)
    settle_heads(net, believed)
    names = {WHOLE_SHOP: ~cases.cold_U, COLD: cases.cold_U}
    for row in np.unique(cases.scenario_U[~cases.cold_U]).tolist():
        if scenario_names[row]:
            names[scenario_names[row]] = (cases.scenario_U == row) & ~cases.cold_U
    calibration, errors = calibrate(judged, names)
    calibration = settled(calibration, net, judged, names, scenario_text_SG)
    objective = learned_objectives(judged, names, calibration, exclude_had)
    choices: dict[str, Json] = {}
    for name, part_U in names.items():
        weights = objective.get(name, objective[WHOLE_SHOP])
        curves = calibration.get(name, calibration[WHOLE_SHOP])
        chosen = choose(judged, part_U, weights, curves, without, exclude_had)
        if chosen is not None:
            choices[name] = chosen
    figures = "; ".join(f"{name or 'whole shop'}: {of['order']} ({of['why']})" for name, of in choices.items())  # type: ignore[index,call-overload]
    progress("ranker", 1.0, f"ranker, {len(cases)} cases ({cases.num_slates} logged slates): {figures}")
    parameters: dict[str, Any] = {
        "features": list(FEATURES),
        "choices": choices,
        "calibration": calibration,
        "calibration_error": errors,
        "objective": objective,
        "after_click": {name: belief._asdict() for name, belief in zip(HEADS[1:], believed, strict=True)},
        "cases": len(cases),
        "logged_slates": cases.num_slates,
        "epochs": round(float(np.mean(epochs))),
        "home": home,
        "median_price": round(median_price, 4),
    }
    return RankerFit(parameters, net.arrays())
