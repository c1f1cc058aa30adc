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
from scipy import optimize
from torch import Tensor
from torch.nn import functional as F

from app.features.ranking import FEATURES
from app.features.ranking.names import OF_EVENTS, ROW, SOURCES
from app.learning.evaluation.calibration import expected_calibration_error
from app.learning.evaluation.metrics import IDEAL
from app.learning.ranker_cases import RankerCases
from app.model.ranker import HEADS, MAX_POSITION, NUM_HEADS, RankerConfig, RankerNet, log_chances
from app.retrieval.ranker import COLD, MAX_LOGIT, WHOLE_SHOP
from app.types import BoolArray, Float32Array, Int64Array, Json, Progress

MIN_CASES = 300  # with an act among the candidates, below which nothing is fitted
MIN_SCENARIO_CASES = 100  # below which a scenario goes by the whole shop
MARGIN = 0.01  # relative gain of NDCG@10 over the learned linear fusion that the ranker must show
LOSS_MARGIN = 0.002  # relative gain of log loss for an objective
CONFIDENCE = 1.645  # standard errors that the mean gain must stand above 0
MIN_POSITIVES = 30  # of a head, below which it has no curve of its own in a scenario
BINS = 10
PAIRED = 100
EPOCHS, PATIENCE, STOP_SHARE = 10, 2, 0.15
STEP_CASES, SAMPLED, NEAR = 64, 100, 100  # cases of a step; candidates of a case; half of them from the first NEAR
RATE, WIDE_RATE, PLACE_RATE, DECAY = 2e-3, 3e-3, 5e-2, 0.1
SCENARIO_DROPPED, SOURCE_DROPPED, EVENTS_DROPPED = 0.2, 0.05, 0.05
OTHER_HEADS = 0.3  # weight of the listwise loss of carts and purchases against that of clicks
OBJECTIVES = ({"click": 1.0}, {"click": 1.0, "cart_add": 1.0}, {"click": 1.0, "purchase": 3.0})
DISCOUNT = 1.0 / np.log2(np.arange(2, 12))


@dataclass(frozen=True)
class RankerFit:
    """As `SlateRanker` holds it. Nothing fitted: no arrays, and `choices` say why."""

    parameters: Mapping[str, Json] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Judged:
    """What the nets that have not seen them say of the cases. log_UCH: log chances as serving has them, without a place. placed_UCH: with
    the place that a logged slate gave."""

    cases: RankerCases
    log_UCH: Float32Array
    placed_UCH: Float32Array


def fit_ranker(
    cases: RankerCases, scenario_names: Sequence[str], scenario_text_SG: Float32Array, without: str, seed: int,
    progress: Progress, *, exclude_had: bool, home: str = "", median_price: float = 1.0,
) -> RankerFit:  # fmt: skip
    """without: what orders where the ranker does not, "fusion" or "rank fusion". exclude_had: judged without the shopper's past items, as
    the protocol has it."""
    useful_U = cases.labels_UCH[..., 0].any(1)
    if int(useful_U.sum()) < MIN_CASES:
        why = f"{int(useful_U.sum())} cases; {MIN_CASES} are needed to fit a ranker"
        progress("ranker", 1.0, f"ranker: {why}; {without} orders")
        return RankerFit({"choices": {WHOLE_SHOP: {"order": without, "objective": without, "why": why}}})
    torch.manual_seed(seed)
    half_U = np.random.default_rng(seed).integers(0, 2, int(cases.user_U.max()) + 1)[cases.user_U]
    judged = Judged(cases, *np.zeros((2, *cases.known_UC.shape, NUM_HEADS), np.float32))
    epochs = []
    for half in (0, 1):
        net, num_epochs = train(cases.subset(half_U != half), scenario_text_SG, seed + half)
        epochs.append(num_epochs)
        score(net, judged, np.flatnonzero(half_U == half), scenario_text_SG)
        progress("ranker", 0.5 + 0.15 * (half + 1))
    net, _ = train(cases, scenario_text_SG, seed, max(1, round(float(np.mean(epochs)))))
    names = {WHOLE_SHOP: ~cases.cold_U, COLD: cases.cold_U}
    for row in np.unique(cases.scenario_U[~cases.cold_U]).tolist():
        if scenario_names[row]:
            names[scenario_names[row]] = (cases.scenario_U == row) & ~cases.cold_U
    calibration, errors = calibrate(judged, names)
    calibration = _settled(calibration, net, judged, names, scenario_text_SG)
    objective = {WHOLE_SHOP: best_objective(judged, ~cases.cold_U, calibration[WHOLE_SHOP], exclude_had)}
    choices: dict[str, Json] = {}
    for name, part_U in names.items():
        chosen = choose(judged, part_U, objective[WHOLE_SHOP], calibration[WHOLE_SHOP], without, exclude_had)
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
        "cases": len(cases),
        "logged_slates": cases.num_slates,
        "epochs": round(float(np.mean(epochs))),
        "home": home,
        "median_price": round(median_price, 4),
    }
    return RankerFit(parameters, net.arrays())


def train(
    cases: RankerCases, scenario_text_SG: Float32Array, seed: int, epochs: int | None = None
) -> tuple[RankerNet, int]:
    """A net and the passes it took. epochs None: until the loss on STOP_SHARE of the cases, left out for that, no longer falls."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(cases))
    num_stop = 0 if epochs else round(STOP_SHARE * len(cases))
    learned, stop = cases.subset(np.sort(order[num_stop:])), cases.subset(np.sort(order[:num_stop]))
    net = new_net(learned, scenario_text_SG.shape[1])
    deep = [value for name, value in net.named_parameters() if not name.startswith(("wide.", "position.", "sharpness"))]
    groups = [
        {"params": deep, "lr": RATE},
        {"params": net.wide.parameters(), "lr": WIDE_RATE, "weight_decay": 0.0},
        {"params": [*net.position.parameters(), net.sharpness], "lr": PLACE_RATE, "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=DECAY)
    best_loss, best_epoch, best_state = np.inf, 0, dict[str, Tensor]()
    for epoch in range(1, (epochs or EPOCHS) + 1):
        net.train()
        for part in np.array_split(rng.permutation(len(learned)), max(1, len(learned) // STEP_CASES)):
            optimiser.zero_grad()
            loss = _loss(net, learned.subset(part), scenario_text_SG, rng)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        if epochs:
            continue
        net.eval()
        with torch.no_grad():
            left_out = float(_loss(net, stop, scenario_text_SG, np.random.default_rng(seed), train=False))
        if left_out < best_loss:
            best_loss, best_epoch = left_out, epoch
            best_state = {name: value.clone() for name, value in net.state_dict().items()}
        elif epoch - best_epoch >= PATIENCE:
            break
    if best_state:
        net.load_state_dict(best_state)
    net.settle_at_first_place()
    return net.eval(), epochs or max(1, best_epoch)


def new_net(cases: RankerCases, text_dim: int) -> RankerNet:
    """Starts as the fusion with the chances it has: the order of the fusion."""
    some_XF = cases.features_UCF[cases.known_UC][:: max(1, int(cases.known_UC.sum()) // 50_000)].astype(np.float32)
    known_F = ~np.isnan(some_XF).all(0)
    mean_F, scale_F = np.zeros(len(FEATURES), np.float32), np.zeros(len(FEATURES), np.float32)
    mean_F[known_F] = np.nanmean(some_XF[:, known_F], 0)
    spread_F = np.nanstd(some_XF[:, known_F], 0)
    scale_F[known_F] = np.where(spread_F > 1e-4, 1.0 / np.maximum(spread_F, 1e-4), 0.0)
    net = RankerNet(RankerConfig(len(FEATURES), text_dim), mean_F, scale_F)
    log_fused, judged_UC = ROW["log fused"], judged_of(cases)
    slope, offset = platt(
        cases.features_UCF[..., log_fused][judged_UC].astype(np.float64), cases.labels_UCH[..., 0][judged_UC]
    )
    with torch.no_grad():
        net.wide.weight[0, log_fused] = slope / max(float(scale_F[log_fused]), 1e-3)
        net.wide.bias[0] = offset + slope * float(mean_F[log_fused])
        net.out.normal_(std=0.05)
    return net


def judged_of(cases: RankerCases) -> BoolArray:
    """bool [U, C]: candidates of which it is known whether they were acted on: of a logged slate what it held, else all."""
    shown_UC = cases.position_UC > 0
    return np.where(shown_UC.any(1, keepdims=True), shown_UC, cases.known_UC)


def _loss(
    net: RankerNet, cases: RankerCases, scenario_text_SG: Float32Array, rng: np.random.Generator, *, train: bool = True
) -> Tensor:
    """Of a logged slate the cross entropy of what it held, over its whole funnel: what it did not hold says nothing, or the net would learn
    who made the slate. Where nothing was logged, listwise: what was acted on against the other candidates."""
    at_BK = _sampled(cases, rng)
    take = np.take_along_axis
    features_BKF = take(cases.features_UCF, at_BK[..., None], 1).astype(np.float32)
    known_BK, place_BK = take(cases.known_UC, at_BK, 1), take(cases.position_UC, at_BK, 1)
    labels_BKH = torch.from_numpy(take(cases.labels_UCH, at_BK[..., None], 1).astype(np.float32))
    B, K = at_BK.shape
    scenario_BG = scenario_text_SG[cases.scenario_U]
    if train:
        scenario_BG = np.where(rng.random((B, 1)) < SCENARIO_DROPPED, 0.0, scenario_BG).astype(np.float32)
        _drop(features_BKF, rng)
    scenario_XG = torch.from_numpy(np.repeat(scenario_BG, K, 0))
    logits_XH = net(
        torch.from_numpy(features_BKF.reshape(B * K, -1)), scenario_XG, torch.zeros(B * K, dtype=torch.long)
    )
    place_X = torch.from_numpy(np.minimum(place_BK.ravel(), MAX_POSITION).astype(np.int64))
    shown_X = place_X > 0
    padding_BK = torch.from_numpy(~known_BK)
    log_BKH = log_chances(logits_XH).view(B, K, NUM_HEADS)
    scores_BKH = torch.cat([logits_XH.view(B, K, NUM_HEADS)[..., :1], log_BKH[..., 1:]], -1)
    sharp_BKH = scores_BKH * net.sharpness.exp()  # a list wants wider gaps than chances have
    labels_XH, logged_B1 = labels_BKH.view(-1, NUM_HEADS), shown_X.view(B, K).any(1, keepdim=True)
    unlogged_BKH = labels_BKH * ~logged_B1[..., None]
    loss = torch.zeros(())
    for head, weight in enumerate((1.0, OTHER_HEADS, OTHER_HEADS)):
        loss = loss + weight * _listwise(sharp_BKH[..., head].masked_fill(padding_BK, -1e9), unlogged_BKH[..., head])
    if bool(shown_X.any()):
        placed_XH = torch.cat([logits_XH[:, :1] + net.position(place_X), logits_XH[:, 1:]], 1)[shown_X]
        chances_XH = log_chances(placed_XH).exp().clamp(1e-6, 1 - 1e-6)
        loss = loss + F.binary_cross_entropy(chances_XH, labels_XH[shown_X], reduction="sum") / shown_X.sum()
    acted_X = (unlogged_BKH.reshape(-1, NUM_HEADS)[:, 0] > 0) & ~shown_X
    if bool(acted_X.any()):  # what follows a click, where nobody logged what was not clicked
        loss = loss + F.binary_cross_entropy_with_logits(logits_XH[acted_X, 1:], labels_XH[acted_X, 1:])
    return loss


def _listwise(scores_BK: Tensor, labels_BK: Tensor) -> Tensor:
    """Mean softmax cross entropy of the cases that have a positive."""
    num_B = labels_BK.sum(1)
    useful_B = num_B > 0
    if not bool(useful_B.any()):
        return torch.zeros(())
    log_BK = scores_BK[useful_B].log_softmax(1)
    loss: Tensor = -((log_BK * labels_BK[useful_B]).sum(1) / num_B[useful_B]).mean()
    return loss


def _sampled(cases: RankerCases, rng: np.random.Generator) -> Int64Array:
    """[B, K] places: all that was acted on or shown, the others drawn, those that the fusion puts first twice as likely as not."""
    B, C = cases.known_UC.shape
    keys_BC = rng.random((B, C), np.float32)
    keys_BC[:, :NEAR] += np.float32(0.6)
    keys_BC[~cases.known_UC] = -1.0
    keys_BC[cases.labels_UCH[..., 0] | (cases.position_UC > 0)] = 3.0
    K = min(C, SAMPLED)
    return np.argpartition(-keys_BC, K - 1, axis=1)[:, :K] if K < C else np.tile(np.arange(C), (B, 1))


def _drop(features_BKF: Float32Array, rng: np.random.Generator) -> None:
    """Now and then a source is not there, and an item has no events: states that serving meets."""
    B, K, _ = features_BKF.shape
    for source in range(len(SOURCES)):
        gone_B = rng.random(B) < SOURCE_DROPPED
        features_BKF[gone_B, :, source] = features_BKF[gone_B, :, len(SOURCES) + source] = 0.0
    new_BK = rng.random((B, K)) < EVENTS_DROPPED
    for row in OF_EVENTS:
        features_BKF[new_BK, row] = np.nan


@torch.inference_mode()
def score(net: RankerNet, judged: Judged, where: Int64Array, scenario_text_SG: Float32Array) -> None:
    """Fills in the log chances of these cases."""
    cases, C = judged.cases, judged.cases.known_UC.shape[1]
    nowhere_C = torch.zeros(C, dtype=torch.long)
    for u in where.tolist():
        features_CF = torch.from_numpy(cases.features_UCF[u].astype(np.float32))
        scenario_CG = torch.from_numpy(scenario_text_SG[cases.scenario_U[u]])[None].expand(C, -1)
        place_C = torch.from_numpy(np.minimum(cases.position_UC[u], MAX_POSITION).astype(np.int64))
        logits_CH = net(features_CF, scenario_CG, nowhere_C)
        judged.log_UCH[u] = log_chances(logits_CH).numpy()
        logits_CH[:, :1] += net.position(place_C) * (place_C > 0)[:, None]
        judged.placed_UCH[u] = log_chances(logits_CH).numpy()


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


def _settled(
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
            head_name: (curves[head_name][0], _offset(curves[head_name], logit(log_XH[:, head]), labels_XH[:, head]))
            for head, head_name in enumerate(HEADS)
        }
    return settled


def _offset(curve: tuple[float, float], logit_X: NDArray[np.float64], label_X: BoolArray) -> float:
    if not 0 < label_X.sum() < len(label_X):
        return curve[1]

    def surplus(offset: float) -> float:
        return float((1.0 / (1.0 + np.exp(-np.clip(curve[0] * logit_X + offset, -60.0, 60.0)))).mean() - label_X.mean())

    return round(float(optimize.brentq(surplus, -60.0, 60.0, xtol=1e-4)), 5)


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


def logit(log_X: Float32Array) -> NDArray[np.float64]:
    log_X64 = np.minimum(log_X.astype(np.float64), -1e-7)
    logit_X: NDArray[np.float64] = log_X64 - np.log(-np.expm1(log_X64))
    return logit_X


def platt(logit_X: NDArray[np.float64], label_X: BoolArray) -> tuple[float, float]:
    """Slope (never negative: a curve must not turn the order) and offset of the logistic regression. Platt 1999."""

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        z_X = np.clip(parameters[0] * logit_X + parameters[1], -60.0, 60.0)
        away_X = 1.0 / (1.0 + np.exp(-z_X)) - label_X
        cost = float((np.logaddexp(0.0, z_X) - z_X * label_X).mean())
        return cost, np.asarray([float((away_X * logit_X).mean()), float(away_X.mean())])

    found = optimize.minimize(
        loss, np.asarray([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0.05, 20.0), (-20.0, 20.0)]
    )
    return round(float(found.x[0]), 5), round(float(found.x[1]), 5)


def best_objective(judged: Judged, part_U: BoolArray, curves: Curves, exclude_had: bool) -> dict[str, float]:
    """Weights of the heads for a scenario that gives none: those that rank left-out cases best; clicks alone unless others gain MARGIN."""
    figures = [float(_ndcg(judged, part_U, _worth(judged, curves, tried), exclude_had).mean()) for tried in OBJECTIVES]
    best = int(np.argmax(figures))
    return dict(OBJECTIVES[best if figures[best] > figures[0] * (1 + MARGIN) else 0])


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
    wins = mean >= MARGIN * base and mean >= CONFIDENCE * error
    losses = _losses(judged, part_U)
    total, total_fusion = (sum(of[key] for of in losses.values()) for key in ("ranker", "fusion"))
    explains = total < total_fusion * (1 - LOSS_MARGIN)
    return {
        "order": "ranker" if wins else without,
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
            "ranker": round(_log_loss(logit(log_XH[:, head]), label_X), 6),
            "fusion": round(_log_loss(fused_X, label_X), 6),
        }
    return losses


def _log_loss(value_X: NDArray[np.float64], label_X: BoolArray) -> float:
    slope, offset = platt(value_X, label_X)
    z_X = np.clip(slope * value_X + offset, -60.0, 60.0)
    return float((np.logaddexp(0.0, z_X) - z_X * label_X).mean())


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
