"""What the nets say of cases they have not seen, and what follows from it: curves, weights of the heads, who orders where.

Shapes: U cases, C candidates, F features, G scenario text, H heads, X pairs of case and candidate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from app.learning.evaluation.calibration import expected_calibration_error
from app.learning.evaluation.metrics import IDEAL
from app.learning.ranker_cases import RankerCases
from app.learning.ranker_curves import log_loss, logit, offset_for, platt
from app.model.ranker import MAX_POSITION, RankerNet, log_chances
from app.model.ranker_runner import HEADS
from app.retrieval.ranker import COLD, MAX_LOGIT, WHOLE_SHOP
from app.types import BoolArray, Float32Array, Int64Array, Json

MIN_SCENARIO_CASES = 100  # below which a scenario goes by the whole shop
MARGIN = 0.01  # relative gain of NDCG@10 over the learned linear fusion that the ranker must show
LOSS_MARGIN = 0.002  # relative gain of log loss for an objective
CONFIDENCE = 1.645  # standard errors that the mean gain must stand above 0
MIN_POSITIVES = 30  # of a head, below which it has no curve of its own in a scenario
BINS = 10
PAIRED = 100
SCORED_CASES = 16  # at a time: what a core's cache holds
OBJECTIVES = ({"click": 1.0}, {"click": 1.0, "cart_add": 1.0}, {"click": 1.0, "purchase": 3.0})
DISCOUNT = 1.0 / np.log2(np.arange(2, 12))


@dataclass(frozen=True, eq=False)
class Judged:
    """What the nets that have not seen them say of the cases. log_UCH: log chances as serving has them, without a place. placed_UCH: with
    the place that a logged slate gave."""

    cases: RankerCases
    log_UCH: Float32Array
    placed_UCH: Float32Array


@torch.inference_mode()
def score(net: RankerNet, judged: Judged, where: Int64Array, scenario_text_SG: Float32Array) -> None:
    """Fills in the log chances of these cases."""
    cases = judged.cases
    for u_B in np.array_split(where, -(-len(where) // SCORED_CASES)):
        place_BC = torch.from_numpy(np.minimum(cases.position_UC[u_B], MAX_POSITION).astype(np.int64))
        features_BCF = torch.from_numpy(cases.features_UCF[u_B].astype(np.float32))
        scenario_BG = torch.from_numpy(scenario_text_SG[cases.scenario_U[u_B]])
        logits_BCH = net(features_BCF, scenario_BG, torch.zeros_like(place_BC))
        judged.log_UCH[u_B] = log_chances(logits_BCH).numpy()
        logits_BCH[..., :1] += net.position(place_BC) * (place_BC > 0)[..., None]
        judged.placed_UCH[u_B] = log_chances(logits_BCH).numpy()


Curves = dict[str, tuple[float, float]]


def calibrate(
    judged: Judged, names: Mapping[str, BoolArray]
) -> tuple[dict[str, Curves], dict[str, dict[str, dict[str, float]]]]:
    """Platt's slope and offset of each head by scenario, and the expected calibration error with them: a chance is that the candidate is
    acted on after this request."""
    curves: dict[str, Curves] = {}
    errors: dict[str, dict[str, dict[str, float]]] = {}
    for name, part_U in names.items():
        if name == COLD:
            continue
        log_XH, labels_XH = pairs(judged, part_U)
        for head, head_name in enumerate(HEADS):
            positives = int(labels_XH[:, head].sum()) if len(labels_XH) else 0
            if positives < MIN_POSITIVES and name != WHOLE_SHOP:
                continue
            logit_X = logit(log_XH[:, head])
            curve = platt(logit_X, labels_XH[:, head]) if positives >= MIN_POSITIVES else (1.0, 0.0)
            curves.setdefault(name, {})[head_name] = curve
            chance_X = 1.0 / (1.0 + np.exp(-np.clip(curve[0] * logit_X + curve[1], -MAX_LOGIT, MAX_LOGIT)))
            errors.setdefault(name, {})[head_name] = {
                "ece": round(expected_calibration_error(chance_X, labels_XH[:, head].astype(np.float64), BINS), 5),
                "rate": round(positives / max(1, len(labels_XH)), 5),
                "pairs": len(labels_XH),
            }
    shop = curves[WHOLE_SHOP]
    return {name: {**shop, **of} for name, of in curves.items()}, errors


def settled(
    calibration: Mapping[str, Curves], net: RankerNet, judged: Judged, names: Mapping[str, BoolArray],
    scenario_text_SG: Float32Array,
) -> dict[str, Curves]:  # fmt: skip
    """The same slopes, with offsets by which the mean chances of the net that serves are the rates of the cases: its level may differ from
    that of the two nets that the curves were fitted on."""
    own = Judged(judged.cases, *np.zeros((2, *judged.log_UCH.shape), np.float32))
    score(net, own, np.arange(len(judged.cases)), scenario_text_SG)
    settled: dict[str, Curves] = {}
    for name, curves in calibration.items():
        log_XH, labels_XH = pairs(own, names[name])
        settled[name] = {
            head_name: (curves[head_name][0], offset_for(curves[head_name], logit(log_XH[:, head]), labels_XH[:, head]))
            for head, head_name in enumerate(HEADS)
        }
    return settled


def pairs(judged: Judged, part_U: BoolArray) -> tuple[Float32Array, BoolArray]:
    """What chances are judged on: log chances [X, H] and labels."""
    where_UC = paired(judged.cases) & part_U[:, None]
    return judged.placed_UCH[where_UC], judged.cases.labels_UCH[where_UC]


def paired(cases: RankerCases) -> BoolArray:
    """bool [U, C]: the first PAIRED candidates of the fusion, and what was shown or acted on. Not what was shown alone: an objective weighs
    candidates that no slate has held, and a curve fitted on the best few says of all others that they are nearly as good."""
    near_UC = cases.known_UC.copy()
    near_UC[:, PAIRED:] = False
    return near_UC | cases.labels_UCH[..., 0] | (cases.position_UC > 0)


def learned_objectives(
    judged: Judged, names: Mapping[str, BoolArray], calibration: Mapping[str, Curves], exclude_had: bool
) -> dict[str, dict[str, float]]:
    """Weights of the heads for where none are given: of the whole shop, and of each scenario with cases enough. One that is not in it goes by
    the whole shop."""
    shop = best_objective(judged, names[WHOLE_SHOP], calibration[WHOLE_SHOP], exclude_had, OBJECTIVES[0])
    assert shop is not None
    found = {WHOLE_SHOP: shop}
    for name, part_U in names.items():
        if name not in (WHOLE_SHOP, COLD):
            own = best_objective(
                judged, part_U, calibration.get(name, calibration[WHOLE_SHOP]), exclude_had, shop, MIN_SCENARIO_CASES
            )
            if own is not None:
                found[name] = own
    return found


def best_objective(
    judged: Judged, part_U: BoolArray, curves: Curves, exclude_had: bool, usual: Mapping[str, float], least: int = 0
) -> dict[str, float] | None:
    """Those that rank left-out cases best; `usual` unless others gain MARGIN on it and stand CONFIDENCE clear of chance. None: fewer cases
    than `least`."""
    usual_U = _ndcg(judged, part_U, _worth(judged, curves, usual), exclude_had)
    if len(usual_U) < least:
        return None
    best, best_gain = dict(usual), 0.0
    for tried in OBJECTIVES:
        gain_U = _ndcg(judged, part_U, _worth(judged, curves, tried), exclude_had) - usual_U
        if _is_clear(gain_U, usual_U) and float(gain_U.mean()) > best_gain:
            best, best_gain = dict(tried), float(gain_U.mean())
    return best


def _is_clear(gain_U: NDArray[np.float64], base_U: NDArray[np.float64]) -> bool:
    error = float(gain_U.std()) / max(1, len(gain_U)) ** 0.5
    gain = float(gain_U.mean())
    return gain >= MARGIN * float(base_U.mean()) and gain >= CONFIDENCE * error


def _worth(judged: Judged, curves: Curves, objective: Mapping[str, float]) -> Float32Array:
    """float32 [U, C], as `SlateRanker.scores` makes it."""
    total = np.zeros(judged.cases.known_UC.shape)
    for head, name in enumerate(HEADS):
        if name in objective:
            slope, offset = curves[name]
            z_UC = np.clip(slope * logit(judged.log_UCH[..., head]) + offset, -60.0, 60.0)
            total += objective[name] / (1.0 + np.exp(-z_UC))
    return total.astype(np.float32)


def choose(
    judged: Judged, part_U: BoolArray, objective: Mapping[str, float], curves: Curves, without: str, exclude_had: bool
) -> dict[str, Json] | None:
    """What orders these cases, with the figures. None: too few to say."""
    by_ranker = _ndcg(judged, part_U, _worth(judged, curves, objective), exclude_had)
    by_fusion = _ndcg(judged, part_U, judged.cases.fused_UC, exclude_had)
    if len(by_ranker) < MIN_SCENARIO_CASES:
        return None
    gain = by_ranker - by_fusion
    error = float(gain.std()) / len(gain) ** 0.5
    mean, base = float(gain.mean()), float(by_fusion.mean())
    losses = _losses(judged, part_U)
    total, total_fusion = (sum(of[key] for of in losses.values()) for key in ("ranker", "fusion"))
    explains = total < total_fusion * (1 - LOSS_MARGIN)
    return {
        "order": "ranker" if _is_clear(gain, by_fusion) else without,
        "objective": "ranker" if explains else without,
        "why": f"NDCG@10 {base + mean:.4f} against {base:.4f} of the fusion, gain {mean:+.4f} ± {error:.4f}, {len(gain)} cases",
        "ndcg@10": {"ranker": round(base + mean, 5), "fusion": round(base, 5), "standard_error": round(error, 5)},
        "log_loss": losses,  # type: ignore[dict-item]
        "cases": len(gain),
    }


def _losses(judged: Judged, part_U: BoolArray) -> dict[str, dict[str, float]]:
    """Log loss of each head, beside that of the fused score with a curve of its own."""
    log_XH, labels_XH = pairs(judged, part_U)
    where_UC = paired(judged.cases) & part_U[:, None]
    fused_X = np.log(np.maximum(judged.cases.fused_UC[where_UC], 1e-4)).astype(np.float64)
    losses: dict[str, dict[str, float]] = {}
    for head, name in enumerate(HEADS):
        label_X = labels_XH[:, head]
        if int(label_X.sum()) < MIN_POSITIVES:
            continue
        losses[name] = {
            "ranker": round(log_loss(logit(log_XH[:, head]), label_X), 6),
            "fusion": round(log_loss(fused_X, label_X), 6),
        }
    return losses


def _ndcg(judged: Judged, part_U: BoolArray, score_UC: Float32Array, exclude_had: bool) -> NDArray[np.float64]:
    """NDCG@10 of the cases that have something to find."""
    cases = judged.cases
    open_UC = cases.known_UC & ~cases.had_UC if exclude_had else cases.known_UC
    hit_UC = cases.labels_UCH[..., 0] & open_UC
    useful_U = part_U & hit_UC.any(1)
    score_UC = np.where(open_UC, score_UC, -np.inf)[useful_U]
    top = np.argsort(-score_UC, axis=1, kind="stable")[:, :10]
    found = np.take_along_axis(hit_UC[useful_U], top, 1)
    gains: NDArray[np.float64] = (found * DISCOUNT[: found.shape[1]]).sum(1)
    ndcg_U: NDArray[np.float64] = gains / IDEAL[np.minimum(hit_UC[useful_U].sum(1), 10)]
    return ndcg_U
