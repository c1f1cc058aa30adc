"""Training of the towers: next item at every position, early stopping on a callback's score.

Shapes: E events, B windows, L window length.
"""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from app.learning.checkpoint import Checkpoints, key_of
from app.learning.dataset import Interactions
from app.learning.inputs import Inputs
from app.learning.objective import Objective
from app.learning.training_config import TrainingConfig
from app.learning.windows import Batches, Windows, windows
from app.model.config import TowerConfig
from app.model.runner import TowerRunner
from app.model.towers import Towers
from app.types import Progress

EVENTS_PER_BATCH = 2_048
STEPS_WANTED = 4_000  # enough optimiser steps for any set; a small one needs more passes to take them
# Steps that may go by without a gain, and so many passes at least; TrainingConfig.patience is the most.
PATIENT_STEPS, LEAST_PATIENCE = 1_000, 2


@dataclass
class TrainingLog:
    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)  # of the validation callback, one per epoch
    best_epoch: int = 0
    seconds: float = 0.0
    peak_memory_mib: float = 0.0


def tower_config(data: Interactions, inputs: Inputs, **changes: object) -> TowerConfig:
    vocabulary = inputs.vocabulary
    config = TowerConfig(
        num_items=len(data.item_ids) + 1,
        num_categories=len(vocabulary.categories) + 1,
        num_departments=len(vocabulary.departments) + 1,
        num_brands=len(vocabulary.brands) + 1,
        num_prices=len(vocabulary.price_borders) + 2,
        num_scenarios=len(data.scenarios),
        text_dim=inputs.text_NT.shape[1],
    )
    return replace(config, **changes)  # type: ignore[arg-type]


def num_epochs(data: Interactions, config: TrainingConfig) -> int:
    if config.epochs:
        return config.epochs
    return int(np.clip(STEPS_WANTED // num_steps(data), 8, 40))


def num_steps(data: Interactions) -> int:
    """Of one pass."""
    return max(1, len(data) // EVENTS_PER_BATCH)


Cut = Callable[[Interactions, int, np.random.Generator], Windows]
Aim = Callable[[Interactions, Inputs, Towers, TrainingConfig, np.random.Generator], Objective]


class Trainer:
    """One run over one set of interactions. `run` may be called once."""

    def __init__(
        self, data: Interactions, inputs: Inputs, towers: Towers, config: TrainingConfig, cut: Cut | None = None,
        objective: Aim = Objective,
    ) -> None:  # fmt: skip
        """cut: the windows of an epoch, in place of all events cut at random. objective: makes what a step minimises."""
        self._log, self._best, self._cut = TrainingLog(), dict[str, Tensor](), cut
        self.data, self.inputs, self.towers, self.config = data.collapsed, inputs, towers, config
        torch.manual_seed(config.seed)
        self._rng = np.random.default_rng(config.seed)
        centre(towers, inputs)
        self.objective = objective(self.data, inputs, towers, config, self._rng)
        groups = _parameter_groups(self.objective.trained(), config.weight_decay)
        self._optimiser = torch.optim.AdamW(groups, lr=config.learning_rate)

    def run(
        self,
        progress: Progress,
        score: Callable[[TowerRunner], float] | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> TrainingLog:
        """Train; with `score` (higher is better) stop early and keep the best weights, without it run all epochs.

        checkpoints: where the state is left after every epoch; one of this very training is gone on from, to the same end.
        """
        log, epochs, started = self._log, num_epochs(self.data, self.config), time.monotonic()
        patience = epochs if score is None else self._patience()
        key = "" if checkpoints is None else self._key(score is not None)
        held = None if checkpoints is None else checkpoints.load(key)
        if held is not None:
            self.load_state(held)
            progress(
                "train towers", len(log.losses) / epochs, f"goes on from a checkpoint after epoch {len(log.losses)}"
            )
        while len(log.losses) < epochs and len(log.losses) - log.best_epoch < patience:
            epoch = len(log.losses)
            for group in self._optimiser.param_groups:
                group["lr"] = self.config.learning_rate * _learning_rate(epoch, epochs)
            log.losses.append(self._epoch(progress, epoch, epochs))
            note = f"epoch {epoch + 1}/{epochs}, loss {log.losses[-1]:.3f}"
            if score is not None:
                log.scores.append(score(TowerRunner(self.towers)))
                note += f", validation NDCG@10 {log.scores[-1]:.4f}"
                if log.scores[-1] > max(log.scores[:-1], default=-math.inf):
                    log.best_epoch = epoch + 1
                    self._best = {name: value.clone() for name, value in self.towers.state_dict().items()}
            log.seconds += time.monotonic() - started
            started = time.monotonic()
            if checkpoints is not None:
                checkpoints.save(key, self.state_dict())
            progress("train towers", (epoch + 1) / epochs, note)
        if self._best:
            self.towers.load_state_dict(self._best)
        else:
            log.best_epoch = len(log.losses)
        self.towers.eval()
        log.peak_memory_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return log

    def state_dict(self) -> dict[str, Any]:
        """All that decides how the training goes on, as torch.load(weights_only=True) takes it."""
        return {
            "towers": self.towers.state_dict(),
            "best": self._best,
            "optimiser": self._optimiser.state_dict(),
            "log": asdict(self._log),
            "numpy_rng": self._rng.bit_generator.state,
            "generator": self.objective.generator.get_state(),
            "torch_rng": torch.get_rng_state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.towers.load_state_dict(state["towers"])
        self._best = state["best"]
        self._optimiser.load_state_dict(state["optimiser"])
        for name, value in state["log"].items():
            setattr(self._log, name, value)
        self._rng.bit_generator.state = state["numpy_rng"]
        self.objective.generator.set_state(state["generator"])
        torch.set_rng_state(state["torch_rng"])

    def _key(self, stops_early: bool) -> str:
        data, inputs = self.data, self.inputs
        arrays = [
            getattr(data, name) for name in ("user_E", "item_E", "kind_E", "scenario_E", "at_E", "weight_E", "query_E")
        ]
        features = [getattr(inputs.features, column) for column in inputs.features.__dataclass_fields__]
        profiles = (inputs.profile_UT.different_DT, inputs.profile_UT.place_R)
        texts = [inputs.text_NT, *profiles, inputs.scenario_text_ST, inputs.query_QT]
        first = [value for _, value in sorted(self.towers.state_dict().items())]
        return key_of(
            len(data.user_ids), len(data.item_ids), *arrays, *features, *texts, *first,
            self.towers.config, self.config, self._cut, stops_early,
        )  # fmt: skip

    def _epoch(self, progress: Progress, epoch: int, epochs: int) -> float:
        self.towers.train()
        self.objective.begin_epoch()
        all_batches = Batches(self._windows(), EVENTS_PER_BATCH, self._rng)
        total, num_batches = 0.0, len(all_batches)
        for step, events_BL in enumerate(all_batches):
            loss = self.objective.loss(events_BL)
            if loss is None:
                continue
            self._optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.towers.parameters(), 5.0)
            self._optimiser.step()
            total += loss.item()
            progress("train towers", (epoch + step / num_batches) / epochs)
        return total / max(1, num_batches)

    def _patience(self) -> int:
        """Passes without a gain after which none is expected: a pass over many events is many steps."""
        enough = max(round(PATIENT_STEPS / num_steps(self.data)), LEAST_PATIENCE)
        return min(enough, self.config.patience)

    def _windows(self) -> Windows:
        """Those that hold something to predict."""
        found = (self._cut or windows)(self.data, self.towers.config.length, self._rng)
        return found.holding(self.objective.weight_E.numpy() > 0)


def centre(towers: Towers, inputs: Inputs) -> None:
    """Texts are read against the mean of the first training: towers that go on keep it, or all they know would shift."""
    if not bool(towers.item.text_mean.any()):
        has_text_N = np.abs(inputs.text_NT).sum(1) > 0
        if has_text_N.any():
            towers.item.text_mean.copy_(torch.from_numpy(inputs.text_NT[has_text_N].mean(0)))
    if not bool(towers.user.scenario.text_mean.any()):
        towers.user.scenario.centre(torch.from_numpy(inputs.scenario_text_ST))


def _learning_rate(epoch: int, epochs: int) -> float:
    """Cosine from 1 to 0.05."""
    return 0.05 + 0.95 * 0.5 * (1.0 + math.cos(math.pi * epoch / epochs))


def _parameter_groups(parameters: Sequence[nn.Parameter], weight_decay: float) -> list[dict[str, object]]:
    """Decay on matrices and tables, none on gains, biases and the temperature."""
    decayed = [p for p in parameters if p.ndim >= 2]
    plain = [p for p in parameters if p.ndim < 2]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
