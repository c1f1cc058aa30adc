"""Fitting of the fusion: weights and shapes of the sources by the validation cases, per scenario.

Three kinds compete by cross-validation over the cases: the best single source, reciprocal-rank fusion (weights by coordinate
ascent on NDCG@10), and a listwise model (softmax loss over the candidates of a case, non-negative). The simpler one wins a tie.

Shapes: U cases, C candidates, Q sources, V views, P = Q · V parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from app.learning.fusion_cases import CaseTable
from app.retrieval.fusion import BY_FLAT_RANK, UNFITTED, VIEWS, Fusion
from app.types import Float32Array, Int64Array

GRID = (0.0, 0.1, 0.3, 1.0, 3.0)
SWEEPS = 2
FOLDS = 3
MAX_CASES = 1_500  # for the weights of the whole shop; a scenario has its own
MIN_CASES = 50  # a scenario with fewer takes the weights of the whole shop
OWN_MARGIN, CONFIDENCE = (
    0.01,
    1.645,
)  # relative gain, and standard errors that it stands above 0, for weights of a scenario's own
MARGIN = 0.002  # relative gain of NDCG@10 below which the simpler one stays
RIDGE = 0.003  # of the listwise loss, towards the prior, on weights of about 1 to 10
TOWER_SHARES = (0.1, 0.05, 0.02, 0.0)  # of the greatest weight, for what only words can find: see `_with_tower`
TRACE = 1e-3
TOLERANCE = 1e-6  # relative, of the loss: nothing that can be seen in a slate
NEWCOMER = 0.1  # prior weight of a source that has none in UNFITTED
Fit = Callable[[CaseTable], Float32Array]


def fit_fusion(
    table: CaseTable,
    scenario_U: Sequence[str],
    cold: CaseTable | None = None,
    repeats: CaseTable | None = None,
    num_shop: int | None = None,
) -> tuple[Fusion, dict[str, float]]:
    """Weights for the whole shop (""), for each scenario with enough cases, and for two situations. Those of the shop are never worse on its
    cases than the best single source; a scenario keeps them where nothing is better there beyond chance.

    Also returns NDCG@10 of each source alone and of each kind of fusion, cross-validated, and of the one chosen.
    cold: the same cases asked without the history. repeats: cases in which past items may be shown. num_shop: how many of the
    cases, from the first on, stand for the whole shop; none given: all.
    """
    if not len(table):
        return Fusion(), {}
    shop = table.subset(evenly(len(table) if num_shop is None else num_shop))
    report = {name: shop.ndcg(single(shop, q)) for q, name in enumerate(table.sources)}
    chosen_QV, crossed = choose(shop, {"single": best_single, "rank fusion": rank_fusion, "listwise": listwise})
    report |= {f"{name}, cross-validated": value for name, value in crossed.items()}
    shapes_QV = shapes_of(chosen_QV)
    weights_Q = _with_tower(shop, chosen_QV.sum(1), shapes_QV)
    report["fused"] = shop.ndcg(weights_Q[:, None] * shapes_QV)
    weights = {"": _named(table.sources, weights_Q)}
    names = np.asarray(scenario_U)
    for name in sorted(set(scenario_U) - {""}):
        part = table.subset(names == name)
        if len(part) >= MIN_CASES:
            weights[name] = _named(table.sources, _own_weights(part, weights_Q, shapes_QV))
    situations = {}
    for situation, cases in (("without history", cold), ("with repeats", repeats)):
        if cases is not None and len(cases):
            cases = cases.subset(evenly(len(cases)))
            own_Q = _own_weights(cases, weights_Q, shapes_QV)
            report[f"fused {situation}"] = cases.ndcg(own_Q[:, None] * shapes_QV)
            situations[situation] = _named(table.sources, own_Q)
    shapes = dict(zip(table.sources, shapes_QV.round(4).tolist(), strict=True))
    return Fusion(weights, situations.get("without history", {}), situations.get("with repeats", {}), shapes), report


def kind_of(fusion: Fusion) -> str:
    """ "rank fusion" where reciprocal ranks are all that is looked at, else "fusion", for people."""
    flat = (1 - TRACE) * np.asarray(BY_FLAT_RANK) + TRACE * np.asarray(BY_FLAT_RANK)
    weighted = [name for name, weight in fusion.weights.get("", {}).items() if weight > 0]
    shapes = [fusion.shapes[name] for name in weighted if name in fusion.shapes]
    return "fusion" if any(not np.allclose(shape, flat) for shape in shapes) else "rank fusion"


def evenly(num_cases: int) -> Int64Array:
    """At most MAX_CASES places from first to last: cases come in user order, and early users may be unlike late ones."""
    return np.linspace(0, num_cases - 1, min(num_cases, MAX_CASES)).astype(np.int64)


def choose(table: CaseTable, kinds: Mapping[str, Fit]) -> tuple[Float32Array, dict[str, float]]:
    """The coefficients [Q, V] of the kind that ranks left-out cases best, fitted on all of them, but never worse on all than the
    best single source; and the figure of each kind. kinds: simplest first."""
    crossed = {
        name: float(_left_out(table, fit).mean()) if len(table) >= MIN_CASES else 0.0 for name, fit in kinds.items()
    }
    chosen = next(iter(kinds))
    for name, value in crossed.items():
        if value > crossed[chosen] * (1 + MARGIN):
            chosen = name
    if len(table) < MIN_CASES:  # too few to say: rank fusion, or the shop's weights
        chosen = list(kinds)[1]
    fused_QV, alone_QV = kinds[chosen](table), best_single(table)
    return (fused_QV if table.ndcg(fused_QV) >= table.ndcg(alone_QV) else alone_QV), crossed


def _left_out(table: CaseTable, fit: Fit) -> Float32Array:
    """NDCG@10 [U] of each case by what was fitted without its fold."""
    fold_U = np.arange(len(table)) % FOLDS
    ndcg_U = np.zeros(len(table), np.float32)
    for fold in range(FOLDS):
        ndcg_U[fold_U == fold] = table.subset(fold_U == fold).ndcg_U(fit(table.subset(fold_U != fold)))
    return ndcg_U


def single(table: CaseTable, source: int) -> Float32Array:
    coefficients_QV = np.zeros((len(table.sources), VIEWS), np.float32)
    coefficients_QV[source] = BY_FLAT_RANK
    return coefficients_QV


def best_single(table: CaseTable) -> Float32Array:
    return max((single(table, q) for q in range(len(table.sources))), key=table.ndcg)


def rank_fusion(table: CaseTable) -> Float32Array:
    """Reciprocal ranks; from the prior and from the best single source, source by source over GRID."""
    starts = [prior(table), best_single(table)]
    flat_QUC = np.ascontiguousarray(np.moveaxis(table.views_UCQV[..., 1], 2, 0))
    found = [_ascend(flat_QUC, table, start[:, 1]) for start in starts]
    return np.outer(max(found, key=lambda pair: pair[0])[1], BY_FLAT_RANK).astype(np.float32)


def prior(table: CaseTable) -> Float32Array:
    return np.outer([UNFITTED.get(name, NEWCOMER) for name in table.sources], BY_FLAT_RANK).astype(np.float32)


def listwise(table: CaseTable) -> Float32Array:
    """All views of all sources."""
    features_UCP = table.views_UCQV.reshape(*table.hit_UC.shape, -1)
    start_P = prior(table).ravel() * 3.0
    return minimise(features_UCP, table, start_P, start_P * 0.0).reshape(-1, VIEWS)


def minimise(
    features_UCP: Float32Array, table: CaseTable, start_P: Float32Array, prior_P: Float32Array
) -> Float32Array:
    """Non-negative coefficients [P] of the softmax loss of the targets among the candidates, ridged towards prior_P (convex)."""
    useful_U = table.hit_UC.any(1)
    if not useful_U.any():
        return start_P
    known_UC, hit_UC = table.known_UC[useful_U], table.hit_UC[useful_U]
    flat_XP = features_UCP[useful_U][known_UC]  # without the padding
    wanted_X = (hit_UC / hit_UC.sum(1, keepdims=True)).astype(np.float32)[known_UC]
    size_U = known_UC.sum(1)
    first_U, num_U = np.cumsum(size_U) - size_U, len(size_U)

    def loss(parameters_P: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logits_X = flat_XP @ parameters_P.astype(np.float32)
        logits_X -= np.repeat(np.maximum.reduceat(logits_X, first_U), size_U)
        exp_X = np.exp(logits_X)
        total_U = np.add.reduceat(exp_X, first_U)
        cost = float((np.log(total_U).sum() - wanted_X @ logits_X) / num_U)
        gradient_P = ((exp_X / np.repeat(total_U, size_U) - wanted_X) @ flat_XP) / num_U
        away_P = parameters_P - prior_P
        return cost + RIDGE * float(away_P @ away_P), (gradient_P + 2 * RIDGE * away_P).astype(np.float64)

    bounds = [(0.0, None)] * len(start_P)
    found = optimize.minimize(
        loss,
        start_P.astype(np.float64),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": 60, "ftol": TOLERANCE},
    )
    result: Float32Array = np.asarray(found.x, np.float32)
    return result if result.any() else start_P


def shapes_of(coefficients_QV: Float32Array) -> Float32Array:
    """Rows that sum to 1; a source without weight is taken by its flat rank, of which every source has a trace: what stands below the
    reach of the scores keeps its order."""
    total_Q1 = coefficients_QV.sum(1, keepdims=True)
    shapes_QV = np.where(total_Q1 > 0, coefficients_QV / np.maximum(total_Q1, 1e-9), BY_FLAT_RANK)
    return ((1 - TRACE) * shapes_QV + TRACE * np.asarray(BY_FLAT_RANK)).astype(np.float32)


def _own_weights(table: CaseTable, shop_Q: Float32Array, shapes_QV: Float32Array) -> Float32Array:
    """Weights [Q] of a scenario or situation, the shapes being the shop's: the shop's own weights, unless those of the best single source
    or fitted ones rank left-out cases better by OWN_MARGIN and beyond chance. Cases are few, and the best of a dozen sources by luck is often
    better on them than a fusion."""

    def shops(cases: CaseTable) -> Float32Array:
        return shop_Q[:, None] * shapes_QV

    def fitted(cases: CaseTable) -> Float32Array:
        features = np.einsum("ucqv,qv->ucq", cases.views_UCQV, shapes_QV)
        return minimise(features, cases, shop_Q, shop_Q)[:, None] * shapes_QV

    shop_U = table.ndcg_U(shops(table))
    chosen: Fit = shops
    best_gain = OWN_MARGIN * float(shop_U.mean())
    rivals: tuple[Fit, ...] = (best_single, fitted) if len(table) >= MIN_CASES else ()
    for kind in rivals:
        gain_U = _left_out(table, kind) - shop_U
        gain, error = float(gain_U.mean()), float(gain_U.std()) / len(table) ** 0.5
        if gain > best_gain and gain >= CONFIDENCE * error:
            chosen, best_gain = kind, gain
    chosen_QV = chosen(table)
    return _with_tower(table, chosen_QV.sum(1), shapes_QV)


def _with_tower(table: CaseTable, weights_Q: Float32Array, shapes_QV: Float32Array) -> Float32Array:
    """What only words can find (new items, new users) must be able to reach a slate: the towers get a share of the greatest weight,
    the largest that leaves the cases no worse than the best single source."""
    tower = table.sources.index("two_tower")
    floor = table.ndcg(best_single(table))
    for share in TOWER_SHARES:
        raised_Q = weights_Q.copy()
        raised_Q[tower] = max(raised_Q[tower], share * weights_Q.max())
        if share == 0.0 or table.ndcg(raised_Q[:, None] * shapes_QV) >= floor:
            break
    return raised_Q


def _named(sources: Sequence[str], weights_Q: Float32Array) -> dict[str, float]:
    greatest = max(float(weights_Q.max()), 1e-9)
    return {name: round(float(weight) / greatest, 4) for name, weight in zip(sources, weights_Q, strict=True)}


def _ascend(flat_QUC: Float32Array, table: CaseTable, start_Q: Float32Array) -> tuple[float, Float32Array]:
    """Coordinate ascent; flat_QUC: the flat view of each source, so that a step adds one source's part to the scores and no more."""
    weights_Q = start_Q.copy()
    scores_UC = np.tensordot(weights_Q, flat_QUC, 1)
    best = float(table.ndcg_by(scores_UC).mean())
    for _ in range(SWEEPS):
        for q, part_UC in enumerate(flat_QUC):
            others_UC = scores_UC - weights_Q[q] * part_UC if weights_Q[q] else scores_UC
            for value in GRID:
                if value == weights_Q[q]:
                    continue
                tried_UC = others_UC + np.float32(value) * part_UC
                score = float(table.ndcg_by(tried_UC).mean())
                if score > best * (1 + MARGIN):
                    best, weights_Q[q], scores_UC = score, value, tried_UC
    return best, weights_Q
