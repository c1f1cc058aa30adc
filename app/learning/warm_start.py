"""Incremental retraining: the live towers go on with what happened since, on a catalogue that may have grown or shrunk.

Shapes: E events, U users, W windows, N items, S scenarios.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime

import numpy as np
import torch

from app.features.texts import PROMPT_VERSION
from app.learning.assembly import assemble, replace_manifest
from app.learning.dataset import Interactions
from app.learning.evaluation.rank import Ranker
from app.learning.fit_config import Choices, FitConfig
from app.learning.fusion_stage import fit_fusion_on
from app.learning.guard import split_cases
from app.learning.inputs import Inputs
from app.learning.ranker_fit import RankerFit
from app.learning.ranker_stage import fit_ranker_on
from app.learning.sources import Parameters, fit_sources, retune_sources
from app.learning.sources.judge import Judge
from app.learning.splits import MAX_VALIDATION_USERS, temporal_at
from app.learning.training import Trainer
from app.learning.windows import Windows, windows
from app.model.runner import TowerRunner
from app.model.towers import Towers
from app.retrieval.fusion import Fusion
from app.retrieval.manifest import Manifest
from app.retrieval.snapshot import Snapshot
from app.types import Progress

EPOCHS, RATE = 4, 0.3  # passes over the new events, and the learning rate against a full training's
MIN_USERS = 100  # judged users below which a new tuning would be chance
REPLAYED = 1.0  # windows of older events for each window of new ones: without them the towers forget


@dataclass(frozen=True, slots=True)
class NewEvents:
    """The windows of an increment: of every user who did something later than `since` the end of the history, far enough back
    that half a window stands before the new events; and a sample of everybody's older windows."""

    since: float
    replayed: float = REPLAYED

    def __call__(self, data: Interactions, length: int, rng: np.random.Generator) -> Windows:
        """None where nothing is new."""
        fresh = self._fresh(data, length)
        older = windows(data, length, rng)
        older = older.where(data.at_E[older.first_W] <= self.since)
        most = min(len(older), round(self.replayed * len(fresh)))
        return fresh.joined(older.where(np.sort(rng.permutation(len(older))[:most])))

    def _fresh(self, data: Interactions, length: int) -> Windows:
        end_U, size_U = data.starts_U1[1:], np.diff(data.starts_U1)
        new_U = np.bincount(data.user_E[data.at_E > self.since], minlength=len(size_U))
        users = np.flatnonzero(new_U)
        step = max(1, length // 2)
        wanted = np.minimum(new_U[users] + length - step, size_U[users])
        count = 1 + np.maximum(0, -(-(wanted - length) // step))
        user_W = np.repeat(users, count)
        back_W = np.arange(len(user_W)) - np.repeat(np.cumsum(count) - count, count)
        last_W = end_U[user_W] - back_W * step
        first_W = np.maximum(last_W - length, data.starts_U1[user_W])
        return Windows(first_W, np.minimum(last_W - first_W, length))


def fits(manifest: Manifest, encoder_key: str) -> bool:
    """Can this model be continued? Not when texts are read in another way than it was trained with."""
    return manifest.encoder == encoder_key and manifest.prompt_version == PROMPT_VERSION


@dataclass(frozen=True, slots=True)
class Retuned:
    """What an increment tunes anew. sources: parameters of some. ranker: fitted and judged anew, because it reads the fused score; where
    that takes more cases than there are, both stay as they were."""

    sources: Parameters
    fusion: Fusion
    ranker: RankerFit


def retuned(
    trial: Snapshot, data: Interactions, inputs: Inputs, config: FitConfig, progress: Progress
) -> Retuned | None:
    """Half-lives, decays and fusion weights by what happened after the trial's past, which none of its parts has seen; None where
    that is too little.

    Of all that was tuned these age fastest: what was chosen lately counts for more before Christmas.
    """
    inner = temporal_at(data, newest(trial), config.repeats).sampled(MAX_VALIDATION_USERS, config.training.seed)
    if len(inner.users) < MIN_USERS:
        return None
    judge = Judge.of_split(Ranker(trial, data, inputs), inner, config.repeats, by_scenario=split_cases(inner))
    sources = retune_sources(trial.fitted, in_rows_of(trial, inner.train), inputs, judge, progress)
    trial = replace(trial, fitted={**trial.fitted, **sources})
    fusion, report, _ = fit_fusion_on(Ranker(trial, data, inputs), data, inner, config)
    ranker = Ranker(replace_manifest(trial, fusion=asdict(fusion)), data, inputs)
    ranked = fit_ranker_on(ranker, data, inner, config, progress) if config.ranker else RankerFit()
    if config.ranker and trial.ranker_arrays and not ranked.arrays:
        progress("ranker", 1.0, "the ranker and the fusion it reads stay as they were")
        fusion, ranked = trial.fusion, RankerFit(trial.manifest.ranker, trial.ranker_arrays)
    figures = ", ".join(f"{name} {value:.4f}" for name, value in report.items())
    progress("weigh sources", 1.0, f"NDCG@10 of {len(inner.users)} users since: {figures}")
    return Retuned({name: fitted.parameters for name, fitted in sources.items()}, fusion, ranked)


def in_rows_of(snapshot: Snapshot, data: Interactions) -> Interactions:
    """The events on items that the snapshot was trained with, numbered as its arrays are; an unknown scenario is the whole shop."""
    scenarios = {name: row for row, name in enumerate(snapshot.manifest.scenarios)}
    item_N = np.asarray([snapshot.row_of.get(item_id, -1) for item_id in data.item_ids], np.int32)
    scenario_S = np.asarray([scenarios.get(name, 0) for name in data.scenarios], np.int32)
    known = data.where(item_N[data.item_E] >= 0)
    return replace(
        known,
        item_ids=list(snapshot.item_ids),
        scenarios=list(snapshot.manifest.scenarios),
        item_E=item_N[known.item_E],
        scenario_E=scenario_S[known.scenario_E],
    )


def newest(snapshot: Snapshot) -> float:
    """Time of the newest event it was trained with, unix seconds."""
    until = snapshot.manifest.data["until"]
    return datetime.fromisoformat(str(until)).timestamp() if until else 0.0


def continue_from(
    snapshot: Snapshot,
    data: Interactions,
    inputs: Inputs,
    config: FitConfig,
    progress: Progress,
    tuned: Retuned | None = None,
) -> Snapshot:
    """The towers learn from the events that are newer than the snapshot's, the other sources are fitted anew, which is cheap; what
    was tuned stays as it was, but for what is given anew. inputs: encoded with the snapshot's vocabulary."""
    held = snapshot.manifest
    choices = Choices(
        epochs=int(held.training.get("epochs", 0)),  # type: ignore[arg-type]
        sources={**held.sources, **tuned.sources} if tuned else held.sources,
        fusion=tuned.fusion if tuned else snapshot.fusion,
        transfer=snapshot.transfer,
        calibration=snapshot.calibration,
        report={"continued_from": snapshot.version},
        ranker=tuned.ranker if tuned else RankerFit(snapshot.manifest.ranker, snapshot.ranker_arrays),
    )
    towers = transplant(snapshot, data, config.training.seed)
    training = replace(config.training, epochs=EPOCHS, learning_rate=config.training.learning_rate * RATE)
    log = Trainer(data, inputs, towers, training, NewEvents(newest(snapshot))).run(
        progress, checkpoints=config.checkpoints
    )
    deltas = {name: delta for name, delta in snapshot.runner.deltas.items() if name in data.scenarios}
    fitted = fit_sources(data, inputs, choices.sources)
    runner = TowerRunner(towers, deltas)
    return assemble(data, inputs, replace(config, mode="incremental"), choices, runner, fitted, asdict(log))


def transplant(snapshot: Snapshot, data: Interactions, seed: int) -> Towers:
    """The snapshot's towers with tables for today's items and scenarios: known ids keep their rows, new ones start at zero."""
    torch.manual_seed(seed)
    old_config = snapshot.runner.towers.config
    towers = Towers(replace(old_config, num_items=len(data.item_ids) + 1, num_scenarios=len(data.scenarios)))
    weights = {name: value.clone() for name, value in snapshot.runner.towers.state_dict().items()}
    items = {item_id: row + 1 for item_id, row in snapshot.row_of.items()}
    scenarios = {name: row for row, name in enumerate(snapshot.manifest.scenarios)}
    for name, old_rows, ids in (
        ("item.id.weight", items, ["", *data.item_ids]),
        ("user.scenario.id.weight", scenarios, list(data.scenarios)),
    ):
        old = weights[name]
        table = torch.zeros(len(ids), old.shape[1])
        rows = np.asarray([old_rows.get(key, 0) for key in ids])
        known = rows > 0
        table[torch.from_numpy(known)] = old[torch.from_numpy(rows[known])]
        weights[name] = table
    towers.load_state_dict(weights)
    return towers.eval()
