"""Training of one ranker net on cases.

Shapes: U cases, C candidates, B cases of a step, F features, G scenario text, H heads, X pairs of case and candidate.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from app.features.ranking import FEATURES
from app.features.ranking.names import OF_EVENTS, ROW, SOURCES
from app.learning.ranker_cases import RankerCases
from app.learning.ranker_curves import platt
from app.model.ranker import MAX_POSITION, NUM_HEADS, RankerConfig, RankerNet, log_chances
from app.types import BoolArray, Float32Array, Int64Array

EPOCHS, PATIENCE, STOP_SHARE = 10, 2, 0.15
STEP_CASES = 64
RATE, WIDE_RATE, PLACE_RATE, DECAY = 2e-3, 3e-3, 5e-2, 0.1
SCENARIO_DROPPED, SOURCE_DROPPED, EVENTS_DROPPED = 0.2, 0.05, 0.05
MIN_POSITIVES = 30  # of what follows a click, below which its head starts from nothing
OTHER_HEADS = 0.3  # weight of the listwise loss of carts and purchases against that of clicks


def train(
    cases: RankerCases, scenario_text_SG: Float32Array, seed: int, epochs: int | None = None
) -> tuple[RankerNet, int]:
    """A net and the passes it took. epochs None: until the loss on STOP_SHARE of the cases, left out for that, no longer falls."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(cases))
    num_stop = 0 if epochs else round(STOP_SHARE * len(cases))
    learned, stop = np.sort(order[num_stop:]), np.sort(order[:num_stop])
    net = new_net(cases, learned, scenario_text_SG.shape[1])
    deep = [
        value
        for name, value in net.named_parameters()
        if not name.startswith(("wide.", "lean", "position.", "sharpness"))
    ]
    groups = [
        {"params": deep, "lr": RATE},
        {"params": [*net.wide.parameters(), net.lean], "lr": WIDE_RATE, "weight_decay": 0.0},
        {"params": [*net.position.parameters(), net.sharpness], "lr": PLACE_RATE, "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=DECAY)
    best_loss, best_epoch, best_state = np.inf, 0, dict[str, Tensor]()
    for epoch in range(1, (epochs or EPOCHS) + 1):
        net.train()
        for part in np.array_split(rng.permutation(len(learned)), max(1, len(learned) // STEP_CASES)):
            optimiser.zero_grad()
            loss = _loss(net, cases, learned[part], scenario_text_SG, rng)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        if epochs:
            continue
        net.eval()
        with torch.no_grad():
            left_out = float(_loss(net, cases, stop, scenario_text_SG, np.random.default_rng(seed), train=False))
        if left_out < best_loss:
            best_loss, best_epoch = left_out, epoch
            best_state = {name: value.clone() for name, value in net.state_dict().items()}
        elif epoch - best_epoch >= PATIENCE:
            break
    if best_state:
        net.load_state_dict(best_state)
    net.settle_at_first_place()
    return net.eval(), epochs or max(1, best_epoch)


def new_net(cases: RankerCases, learned: Int64Array, text_dim: int) -> RankerNet:
    """Starts as the fusion with the chances it has: the order of the fusion, for what follows a click too. learned: the cases it may know."""
    step = max(1, int(cases.known_UC[learned].sum()) // 50_000)
    at = tuple(index_X[::step] for index_X in np.nonzero(cases.known_UC[learned]))
    some_XF = cases.features_UCF[learned[at[0]], at[1]].astype(np.float32)
    known_F = ~np.isnan(some_XF).all(0)
    mean_F, scale_F = np.zeros(len(FEATURES), np.float32), np.zeros(len(FEATURES), np.float32)
    mean_F[known_F] = np.nanmean(some_XF[:, known_F], 0)
    spread_F = np.nanstd(some_XF[:, known_F], 0)
    scale_F[known_F] = np.where(spread_F > 1e-4, 1.0 / np.maximum(spread_F, 1e-4), 0.0)
    net = RankerNet(RankerConfig(len(FEATURES), text_dim), mean_F, scale_F)
    log_fused, judged_UC = ROW["log fused"], judged_of(cases)[learned]
    click_UC = cases.features_UCF[learned, :, log_fused].astype(np.float64)
    labels_UCH = cases.labels_UCH[learned]
    slope, offset = platt(click_UC[judged_UC], labels_UCH[..., 0][judged_UC])
    acted_XH = labels_UCH[labels_UCH[..., 0]]
    click_X = slope * click_UC[labels_UCH[..., 0]] + offset
    with torch.no_grad():
        net.wide.weight[0, log_fused] = slope / max(float(scale_F[log_fused]), 1e-3)
        net.wide.bias[0] = offset + slope * float(mean_F[log_fused])
        for head in range(1, NUM_HEADS):
            if acted_XH[:, head].sum() >= MIN_POSITIVES:
                lean, net.wide.bias[head] = platt(click_X, acted_XH[:, head])
                net.lean[head - 1] = lean
        net.out.normal_(std=0.05)
    return net


def judged_of(cases: RankerCases) -> BoolArray:
    """bool [U, C]: candidates of which it is known whether they were acted on: of a logged slate what it held, else all."""
    shown_UC = cases.position_UC > 0
    return np.where(shown_UC.any(1, keepdims=True), shown_UC, cases.known_UC)


def _loss(
    net: RankerNet, cases: RankerCases, part_B: Int64Array, scenario_text_SG: Float32Array, rng: np.random.Generator,
    *, train: bool = True,
) -> Tensor:  # fmt: skip
    """Of a logged slate the cross entropy of what it held, over its whole funnel: what it did not hold says nothing, or the net would learn
    who made the slate. Where nothing was logged, listwise: what was acted on against the other candidates. part_B: these cases."""
    features_BCF = cases.features_UCF[part_B].astype(np.float32)
    labels_BCH = torch.from_numpy(cases.labels_UCH[part_B].astype(np.float32))
    scenario_BG = scenario_text_SG[cases.scenario_U[part_B]]
    if train:
        dropped_B1 = rng.random((len(part_B), 1)) < SCENARIO_DROPPED
        scenario_BG = np.where(dropped_B1, 0.0, scenario_BG).astype(np.float32)
        _drop(features_BCF, rng)
    place_BC = torch.from_numpy(np.minimum(cases.position_UC[part_B], MAX_POSITION).astype(np.int64))
    logits_BCH = net(torch.from_numpy(features_BCF), torch.from_numpy(scenario_BG), torch.zeros_like(place_BC))
    shown_BC, padding_BC = place_BC > 0, torch.from_numpy(~cases.known_UC[part_B])
    scores_BCH = torch.cat([logits_BCH[..., :1], log_chances(logits_BCH)[..., 1:]], -1)
    sharp_BCH = scores_BCH * net.sharpness.exp()  # a list wants wider gaps than chances have
    unlogged_BCH = labels_BCH * ~shown_BC.any(1)[:, None, None]
    loss = torch.zeros(())
    for head, weight in enumerate((1.0, OTHER_HEADS, OTHER_HEADS)):
        loss = loss + weight * _listwise(sharp_BCH[..., head].masked_fill(padding_BC, -1e9), unlogged_BCH[..., head])
    if bool(shown_BC.any()):
        logits_XH = logits_BCH[shown_BC]
        placed_XH = torch.cat([logits_XH[:, :1] + net.position(place_BC[shown_BC]), logits_XH[:, 1:]], 1)
        chances_XH = log_chances(placed_XH).exp().clamp(1e-6, 1 - 1e-6)
        loss = loss + F.binary_cross_entropy(chances_XH, labels_BCH[shown_BC], reduction="sum") / len(logits_XH)
    acted_BC = (unlogged_BCH[..., 0] > 0) & ~shown_BC
    if bool(acted_BC.any()):  # what follows a click, where nobody logged what was not clicked
        loss = loss + F.binary_cross_entropy_with_logits(logits_BCH[acted_BC][:, 1:], labels_BCH[acted_BC][:, 1:])
    return loss


def _listwise(scores_BC: Tensor, labels_BC: Tensor) -> Tensor:
    """Mean softmax cross entropy of the cases that have a positive, over all candidates: drawn ones would have to be drawn evenly, or where
    the fusion put a candidate would say whether it was drawn."""
    num_B = labels_BC.sum(1)
    useful_B = num_B > 0
    if not bool(useful_B.any()):
        return torch.zeros(())
    log_BC = scores_BC[useful_B].log_softmax(1)
    loss: Tensor = -((log_BC * labels_BC[useful_B]).sum(1) / num_B[useful_B]).mean()
    return loss


def _drop(features_BCF: Float32Array, rng: np.random.Generator) -> None:
    """Now and then a source is not there, and an item has no events: states that serving meets."""
    B, C, _ = features_BCF.shape
    for source in range(len(SOURCES)):
        gone_B = rng.random(B) < SOURCE_DROPPED
        features_BCF[gone_B, :, source] = features_BCF[gone_B, :, len(SOURCES) + source] = 0.0
    new_BC = rng.random((B, C)) < EVENTS_DROPPED
    for row in OF_EVENTS:
        features_BCF[new_BC, row] = np.nan
