"""Does knowing the scenario pay? Models that differ only in how they use it, on one split, over several seeds.

| model | scenario labels in training | tower | sources, fusion |
| --- | --- | --- | --- |
| pooled | none | shared | of the whole shop |
| feature | true | scenario as a plain feature of the user tower (the control) | of the whole shop |
| weighted | true | as feature: no adapter, no item prior | per scenario |
| separate | one model per scenario, fitted and asked with that scenario's events only | shared | of the scenario |
| full | true | adapter, item prior, guard | per scenario |
| random | shuffled over the events | as full | as full |

Every model is asked once per user and scenario, against the targets of that scenario. Shapes: U users of a scenario, K list length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from app.learning.assembly import replace_manifest
from app.learning.dataset import Interactions
from app.learning.evaluation.bootstrap import FloatArray, intervals, macro_interval
from app.learning.evaluation.metrics import per_user
from app.learning.evaluation.rank import Ranker
from app.learning.fit import fit
from app.learning.fit_config import FitConfig
from app.learning.inputs import Inputs
from app.learning.splits import Repeats, Split
from app.retrieval.snapshot import Snapshot
from app.types import Int64Array, Json, Progress

METRIC = "ndcg@10"
MIN_USERS = 30  # of a scenario, for figures of its own
DEPTH = 50
CONTROL, FULL = "feature", "full"
TOWER, FUSED = "tower", "fused"  # the tower's own list, and the service's final slate


@dataclass(frozen=True, slots=True)
class Variant:
    """labels: which scenario labels training sees. towers: changes to TowerConfig. fit: changes to FitConfig."""

    labels: str = "true"
    towers: Mapping[str, object] = field(default_factory=dict)
    fit: Mapping[str, object] = field(default_factory=dict)
    shop_wide: bool = False


VARIANTS: Mapping[str, Variant] = {
    "pooled": Variant(labels="none", fit={"guard": False}, shop_wide=True),
    CONTROL: Variant(towers={"scenario_adapter": False}, fit={"guard": False}, shop_wide=True),
    "weighted": Variant(towers={"scenario_adapter": False}, fit={"guard": False}),
    "separate": Variant(labels="separate"),
    FULL: Variant(),
    "random": Variant(labels="random"),
}
Scores = dict[str, dict[str, FloatArray]]  # scenario -> tower or fused -> NDCG@10 of its users


def judged_scenarios(split: Split) -> dict[str, tuple[int, Split]]:
    """Name -> row and the part of the split with targets there, of scenarios with enough users."""
    parts = {name: (row, split.in_scenario(row)[1]) for row, name in enumerate(split.train.scenarios) if name}
    return {name: (row, part) for name, (row, part) in parts.items() if len(part.users) >= MIN_USERS}


def study(
    split: Split, data: Interactions, inputs: Inputs, config: FitConfig, variant: Variant, progress: Progress
) -> Scores:
    """Fit one variant on the split's past and judge it in every scenario with enough users."""
    if variant.labels == "separate":
        return _separate(split, data, inputs, config, progress)
    config = replace(config, towers={**config.towers, **variant.towers}, **variant.fit)  # type: ignore[arg-type]
    snapshot = fit(_labelled(split.train, variant.labels, config.training.seed), inputs, config, progress)
    if variant.shop_wide:
        snapshot = without_scenarios(snapshot)
    ranker = Ranker(snapshot, data, inputs)
    return {
        name: scenario_ndcg(ranker, part, config.repeats, row) for name, (row, part) in judged_scenarios(split).items()
    }


def scenario_ndcg(ranker: Ranker, part: Split, repeats: Repeats, row: int) -> dict[str, FloatArray]:
    """NDCG@10 of each user of the part, asked in this scenario row: of the tower's own list and of the final slate."""
    alone = ranker.rank(part, DEPTH, repeats, weights={"two_tower": 1.0}, scenario=row)
    fused = ranker.rank(part, DEPTH, repeats, scenario=row)
    return {TOWER: per_user(alone, part.targets)[METRIC], FUSED: per_user(fused, part.targets)[METRIC]}


def without_scenarios(snapshot: Snapshot) -> Snapshot:
    """The same model with the fusion and the popularity of the whole shop in every scenario."""
    fusion = dict(snapshot.manifest.fusion)
    weights = fusion.get("weights")
    fusion["weights"] = {"": weights[""]} if isinstance(weights, Mapping) and "" in weights else {}
    popular = snapshot.fitted["popular"]
    everywhere_SN = np.tile(popular.arrays["popularity"][:1], (len(snapshot.manifest.scenarios), 1))
    fitted = {**snapshot.fitted, "popular": replace(popular, arrays={**popular.arrays, "popularity": everywhere_SN})}
    return replace(replace_manifest(snapshot, fusion=fusion), fitted=fitted)


def _labelled(train: Interactions, labels: str, seed: int) -> Interactions:
    if labels == "none":
        return replace(train, scenario_E=np.zeros_like(train.scenario_E))
    if labels == "random":
        return replace(train, scenario_E=np.random.default_rng(seed).permutation(train.scenario_E))
    return train


def _separate(split: Split, data: Interactions, inputs: Inputs, config: FitConfig, progress: Progress) -> Scores:
    """Each scenario's model knows its own events only; what the user had elsewhere is left out of its lists afterwards."""
    scores: Scores = {}
    for name, (row, part) in judged_scenarios(split).items():
        own = split.train.where(split.train.scenario_E == row)
        own = replace(own, scenario_E=np.zeros_like(own.scenario_E))
        ranker = Ranker(fit(own, inputs, config, progress), data, inputs)
        mine = replace(part, train=own)
        had = [split.train.item_E[split.train.of(user)] for user in part.users.tolist()]
        spare = max(map(len, had)) if config.repeats == "exclude" else 0
        scores[name] = {}
        for level, weights in ((TOWER, {"two_tower": 1.0}), (FUSED, None)):
            topk_UK = ranker.rank(mine, DEPTH + spare, config.repeats, weights=weights, scenario=0)
            if config.repeats == "exclude":
                topk_UK = _without(topk_UK, had)
            scores[name][level] = per_user(topk_UK, part.targets)[METRIC]
    return scores


def _without(topk_UK: Int64Array, had: Sequence[np.ndarray[tuple[int], np.dtype[np.int32]]]) -> Int64Array:
    out = np.full((len(topk_UK), DEPTH), -1, np.int64)
    for u, (row, items) in enumerate(zip(topk_UK, had, strict=True)):
        kept = row[(row >= 0) & ~np.isin(row, items)][:DEPTH]
        out[u, : len(kept)] = kept
    return out


def compare_scenarios(
    split: Split, data: Interactions, inputs: Inputs, config: FitConfig, models: Sequence[str], num_seeds: int,
    progress: Progress,
) -> dict[str, list[Scores]]:  # fmt: skip
    """Model of VARIANTS -> its scores with every seed from config.training.seed on."""
    runs: dict[str, list[Scores]] = {}
    for seed in range(config.training.seed, config.training.seed + num_seeds):
        seeded = replace(config, training=replace(config.training, seed=seed))
        for model in models:
            scores = study(split, data, inputs, seeded, VARIANTS[model], progress)
            macro = {level: np.mean([of[level].mean() for of in scores.values()]) for level in (TOWER, FUSED)}
            progress("study", 1.0, f"{model}, seed {seed}: macro {macro[TOWER]:.4f} alone, {macro[FUSED]:.4f} fused")
            runs.setdefault(model, []).append(scores)
    return runs


def summarise(
    runs: Mapping[str, Sequence[Scores]], level: str, users: Mapping[str, Int64Array], control: str = CONTROL
) -> dict[str, Json]:
    """runs: model -> its scores by seed. users: scenario -> whose the scores are. Per model and scenario the mean, macro and worst; differences
    to the control. A model without any scores is left out."""
    runs = {model: scores for model, scores in runs.items() if scores[0]}
    means = {model: _over_seeds(scores, level) for model, scores in runs.items()}
    report: dict[str, Json] = {}
    for model, of in means.items():
        figures = {name: float(values.mean()) for name, values in of.items()}
        macros = [float(np.mean([s[name][level].mean() for name in of])) for s in runs[model]]
        report[model] = {
            "scenarios": dict(figures),
            "macro": float(np.mean(list(figures.values()))),
            "macro_by_seed": list(macros),
            "worst": min(figures.values()),
        }
        if model != control and control in means:
            report[model]["against_control"] = _differences(of, means[control], users)  # type: ignore[index, call-overload]
    return report


def _over_seeds(scores: Sequence[Scores], level: str) -> dict[str, FloatArray]:
    return {name: np.mean([of_seed[name][level] for of_seed in scores], axis=0) for name in scores[0]}


def _differences(
    ours: Mapping[str, FloatArray], theirs: Mapping[str, FloatArray], users: Mapping[str, Int64Array]
) -> dict[str, Json]:
    """Per scenario and macro: mean and 95 % paired bootstrap interval over users, who may be in several scenarios."""
    everyone = np.unique(np.concatenate([users[name] for name in ours]))
    delta_US = np.full((len(everyone), len(ours)), np.nan)
    for s, (name, values) in enumerate(ours.items()):
        delta_US[np.searchsorted(everyone, users[name]), s] = values - theirs[name]
    by_scenario = intervals({name: delta_US[:, s] for s, name in enumerate(ours)})
    return {name: found.as_json() for name, found in {**by_scenario, "macro": macro_interval(delta_US)}.items()}
