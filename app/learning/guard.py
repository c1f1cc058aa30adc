"""The guard against negative transfer: per scenario, is the shared tower enough, does the adapter help, or is a tower of its own
better? Decided on the validation cut: for the shop by all cases together, for a scenario with a margin, because its few users
are noisy.

Shapes: U cases of a scenario, K list length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from torch import Tensor

from app.learning.dataset import Interactions
from app.learning.evaluation.bootstrap import FloatArray, interval
from app.learning.evaluation.metrics import per_user
from app.learning.evaluation.rank import Ask, Batch, Ranker, asks_of
from app.learning.inputs import Inputs
from app.learning.next_events import Cases
from app.learning.separate import PASSES, separate_tower
from app.learning.splits import Repeats, Split
from app.learning.training_config import TrainingConfig
from app.model.runner import TowerRunner
from app.retrieval.scenario_table import ScenarioTable
from app.retrieval.snapshot import Snapshot
from app.retrieval.sources import TwoTowerSource
from app.retrieval.transfer import Transfer
from app.types import BoolArray, Float32Array, Int64Array, Json, Progress

MIN_CASES = 50  # of a scenario, below which it takes what the whole shop chose
MAX_CASES = 300  # of a scenario that are looked at: bounds the cost
MARGIN = 0.01  # relative gain below which the default stays, however sure
MIN_SEPARATE_EVENTS = 500  # targets of a scenario below which no tower of its own is tried
SEPARATE_SHARE = 0.2  # windows that separate towers may be trained on, against those the towers were
PRIOR_WEIGHTS = (0.0, 0.25, 0.5, 1.0)
DEPTH = 10

Key = TypeVar("Key")
Values = Mapping[str, FloatArray]  # scenario -> NDCG@10 of its cases


@dataclass(frozen=True)
class Guarded:
    """deltas: scenario -> its own user tower, where one was chosen."""

    transfer: Transfer
    deltas: Mapping[str, Mapping[str, Tensor]]


def split_cases(inner: Split) -> dict[str, Cases]:
    """As the protocol judges a scenario: one slate per user with targets there, against those."""
    cases = {}
    for row, name in enumerate(inner.train.scenarios):
        part = inner.in_scenario(row)[1]
        if name and len(part.users) >= MIN_CASES:
            part = part.subset(np.linspace(0, len(part.users) - 1, min(len(part.users), MAX_CASES)).astype(np.int64))
            cases[name] = (asks_of(part, row), list(part.targets))
    return cases


def event_cases(asks: list[Ask], targets: list[Int64Array], scenarios: Sequence[str]) -> dict[str, Cases]:
    """As the service is asked: the cases of `next_events`, by scenario."""
    cases = {}
    for row, name in enumerate(scenarios):
        places = [place for place, ask in enumerate(asks) if ask.scenario == row][:MAX_CASES]
        if name and len(places) >= MIN_CASES:
            cases[name] = ([asks[place] for place in places], [targets[place] for place in places])
    return cases


def guard(
    snapshot: Snapshot, data: Interactions, inputs: Inputs, inner: Split, log: Interactions, cases: Mapping[str, Cases],
    repeats: Repeats, config: TrainingConfig, epochs: int, progress: Progress,
) -> Guarded:  # fmt: skip
    """snapshot: trained on inner.train for `epochs`. log: where the pasts of the cases stand."""
    if not cases:
        return Guarded(Transfer(report={"note": "no scenario has enough users to choose by"}), {})
    ranker = Ranker(snapshot, data, inputs)
    plain = replace(ranker.table, vectors_SD=ranker.table.vectors_SD.copy(), towers={}, boosts={})
    probes = {name: _Probe(ranker, log, *case, inner, repeats) for name, case in cases.items()}
    values: dict[str, dict[str, FloatArray]] = {"shared": {}, "adapter": {}, "separate": {}}
    shared = replace(plain, vectors_SD=np.zeros_like(plain.vectors_SD))
    for name, probe in probes.items():
        values["shared"][name] = probe.ndcg(TwoTowerSource(snapshot.runner, shared))
        values["adapter"][name] = probe.ndcg(TwoTowerSource(snapshot.runner, plain))
    deltas = {}
    for name in _worth_a_tower(inner.train, cases, epochs, config):
        row = inner.train.scenarios.index(name)
        deltas[name] = separate_tower(snapshot.runner.towers, inner.train, inputs, config, row, _quiet(progress))
        runner = TowerRunner(snapshot.runner.towers, {name: deltas[name]})
        values["separate"][name] = probes[name].ndcg(
            TwoTowerSource(runner, replace(plain, towers={plain.row(name): name}))
        )
    both = {option: values[option] for option in ("adapter", "shared")}
    default = pooled(both, "shared")
    choices = choose({default: values[default]} | values, default)
    kept = {name: deltas[name] for name, choice in choices.items() if choice == "separate"}
    transfer = Transfer(choices, default)  # type: ignore[arg-type]
    weights, tried = _prior_weights(snapshot, transfer, kept, probes, ranker.table)
    transfer = replace(transfer, prior_weights=weights, report=_report(values, choices, weights, tried))
    for name, choice in choices.items():
        progress("guard", 1.0, _line(name, values, choice, weights[name]))
    return Guarded(transfer, kept)


class _Probe:
    """The cases of one scenario, folded once."""

    def __init__(
        self, ranker: Ranker, log: Interactions, asks: Sequence[Ask], targets: Sequence[Int64Array], known: Split,
        repeats: Repeats,
    ) -> None:  # fmt: skip
        self._space, self._back_R = ranker.space, ranker.back_R
        self._batches: list[Batch] = list(ranker.batches(log, asks, repeats))
        self._allowed_R: BoolArray = ranker.allowed(known)
        self._targets = targets

    def ndcg(self, source: TwoTowerSource) -> FloatArray:
        return self.ndcg_of(source, self.vectors(source))

    def vectors(self, source: TwoTowerSource) -> list[Float32Array]:
        return [source.user_vectors(batch.users, self._space) for batch in self._batches]

    def ndcg_of(self, source: TwoTowerSource, vectors: Sequence[Float32Array]) -> FloatArray:
        topk_UK = np.full((len(self._targets), DEPTH), -1, np.int64)
        for batch, user_BD in zip(self._batches, vectors, strict=True):
            found, _ = source.nearest(
                user_BD, batch.users.scenario_B, self._space, DEPTH, self._allowed_R, batch.excluded
            )
            for b, rows in enumerate(found):
                kept = rows[(rows >= 0) & ~np.isin(rows, batch.excluded[b])][:DEPTH]
                topk_UK[batch.place + b, : len(kept)] = self._back_R[kept]
        return per_user(topk_UK, self._targets)["ndcg@10"]


def pooled(values: Mapping[Key, Values], simplest: Key) -> Key:
    """The option for the whole shop: the best mean over all cases, the simplest one where no other gains MARGIN on it.

    One of them must serve, so there is no interval to exclude: what is likelier better is chosen. Options that were not tried in
    every scenario are left out.
    """
    everywhere = [option for option in values if values[option].keys() == values[simplest].keys()]
    means = {option: float(np.concatenate(list(values[option].values())).mean()) for option in everywhere}
    best = max(everywhere, key=lambda option: means[option])
    return best if means[best] > (1 + MARGIN) * means[simplest] else simplest


def choose(values: Mapping[Key, Values], default: Key) -> dict[str, Key]:
    """The option for each scenario of `values[default]`: another than the default only where its gain is over MARGIN and the 95 %
    paired bootstrap interval of the gain lies above zero."""
    return {
        name: _best({option: of[name] for option, of in values.items() if name in of}, default)
        for name in values[default]
    }


def _best(values: Mapping[Key, FloatArray], default: Key) -> Key:
    best, best_gain = default, 0.0
    for option, values_U in values.items():
        gain_U = values_U - values[default]
        gain = float(gain_U.mean())
        if gain > max(best_gain, MARGIN * float(values[default].mean())) and interval(gain_U)[0] > 0:
            best, best_gain = option, gain
    return best


def _worth_a_tower(train: Interactions, cases: Mapping[str, Cases], epochs: int, config: TrainingConfig) -> list[str]:
    """Scenarios with events enough for a tower of their own, those with most cases first, while the budget lasts.

    Counted in users to be trained on, not in seconds, so that the same data always give the same model.
    """
    budget = SEPARATE_SHARE * epochs * len(np.unique(train.user_E))
    chosen = []
    for name in sorted(cases, key=lambda name: -len(cases[name][0])):
        here_E = (train.scenario_E == train.scenarios.index(name)) & train.is_target_E
        if not config.predict_repeats:
            here_E &= ~train.is_repeat_E
        cost = PASSES * len(np.unique(train.user_E[here_E]))
        if int(here_E.sum()) >= MIN_SEPARATE_EVENTS and cost <= budget:
            budget -= cost
            chosen.append(name)
    return chosen


def _prior_weights(
    snapshot: Snapshot, transfer: Transfer, deltas: Mapping[str, Mapping[str, Tensor]], probes: Mapping[str, _Probe],
    table: ScenarioTable,
) -> tuple[dict[str, float], dict[float, dict[str, FloatArray]]]:  # fmt: skip
    """Strength of each scenario's item prior on top of the towers chosen, and NDCG@10 of every strength tried."""
    vectors_SD = table.vectors_SD.copy()
    vectors_SD[[row for name, row in table.row_of.items() if transfer.of(name) == "shared"]] = 0.0
    chosen = replace(table, vectors_SD=vectors_SD, towers={table.row(name): name for name in deltas}, boosts={})
    runner = TowerRunner(snapshot.runner.towers, deltas)
    tried: dict[float, dict[str, FloatArray]] = {weight: {} for weight in PRIOR_WEIGHTS}
    for name, probe in probes.items():
        row, vectors = table.row(name), probe.vectors(TwoTowerSource(runner, chosen))
        for weight in PRIOR_WEIGHTS:
            boosts = {row: weight * runner.temperature * snapshot.prior_SN[row]} if weight else {}
            tried[weight][name] = probe.ndcg_of(TwoTowerSource(runner, replace(chosen, boosts=boosts)), vectors)
    default = pooled(tried, 0.0)
    weights = choose(tried, default)
    return {name: weights.get(name, default) for name in snapshot.manifest.scenarios if name}, tried


def _report(
    values: Mapping[str, Values], choices: Mapping[str, str], weights: Mapping[str, float],
    tried: Mapping[float, Values],
) -> dict[str, Json]:  # fmt: skip
    report: dict[str, Json] = {}
    for name, choice in choices.items():
        of = {option: by_scenario[name] for option, by_scenario in values.items() if name in by_scenario}
        gains: dict[str, Json] = {}
        for option, values_U in of.items():
            if option != "shared":
                low, high = interval(values_U - of["shared"])
                gains[option] = {"mean": float((values_U - of["shared"]).mean()), "low": low, "high": high}
        report[name] = {
            "users": len(of["shared"]),
            "ndcg@10": {option: float(values_U.mean()) for option, values_U in of.items()},
            "gain_over_shared": gains,
            "choice": choice,
            "prior": {str(weight): float(by_scenario[name].mean()) for weight, by_scenario in tried.items()},
            "prior_weight": weights[name],
        }
    return report


def _line(name: str, values: Mapping[str, Values], choice: str, weight: float) -> str:
    figures = ", ".join(f"{option} {of[name].mean():.4f}" for option, of in values.items() if name in of)
    return f"{name}: {len(values['shared'][name])} users, {figures} -> {choice}" + (
        f", prior x {weight}" if weight else ""
    )


def _quiet(progress: Progress) -> Progress:
    """Steps without notes: a cancellation still gets through."""
    return lambda stage, done, note="": progress("guard", done)
