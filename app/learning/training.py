"""Training of the towers: next item at every position, early stopping on a callback's score.

Shapes: B windows, L window length, T targets of the batch, N items, D dim, U users, S scenarios.
"""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from app.learning.auxiliary import scenario_text_loss, user_text_loss
from app.learning.checkpoint import Checkpoints, key_of
from app.learning.dataset import Interactions
from app.learning.inputs import Inputs
from app.learning.loss import (
    FULL_SOFTMAX_BELOW,
    LOGQ_ALPHA,
    UNIFORM_NEGATIVES,
    bce,
    full_softmax,
    in_batch_softmax,
    sample_negatives,
)
from app.learning.windows import NOTHING, Batches, Windows, windows
from app.model.config import TowerConfig
from app.model.runner import TowerRunner
from app.model.towers import Towers
from app.types import Float32Array, Int64Array, Progress

EVENTS_PER_BATCH = 2_048
STEPS_WANTED = 4_000  # enough optimiser steps for any set; a small one needs more passes to take them
MAX_SCENARIO_BOOST = 4.0
STRANGERS_PER_WINDOW, STRANGER_WEIGHT = 4, 0.3  # targets predicted from the profile's words alone, and their weight


Loss = Literal["auto", "full", "sampled", "in_batch", "bce"]


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """loss "auto": full softmax up to FULL_SOFTMAX_BELOW items, sampled above; the others are for ablations."""

    epochs: int = 0  # 0: by size
    patience: int = 4
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    seed: int = 0
    predict_repeats: bool = False  # is an item the user already had worth predicting?
    loss: Loss = "auto"
    logq_alpha: float = LOGQ_ALPHA
    hard_negatives: int = 0  # of the sampled loss: for so many of a batch's targets, the item nearest to each
    user_text_weight: float = 0.0  # of the auxiliary losses, see `auxiliary`
    scenario_text_weight: float = 0.0


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
    steps = max(1, len(data) // EVENTS_PER_BATCH)
    return int(np.clip(STEPS_WANTED // steps, 8, 40))


Cut = Callable[[Interactions, int, np.random.Generator], Windows]


class Trainer:
    """One run over one set of interactions. `run` may be called once."""

    def __init__(
        self, data: Interactions, inputs: Inputs, towers: Towers, config: TrainingConfig, cut: Cut | None = None
    ) -> None:
        """cut: the windows of an epoch, in place of all events cut at random."""
        self._log, self._best, self._cut = TrainingLog(), dict[str, Tensor](), cut
        self.data, self.inputs, self.towers, self.config = data.collapsed, inputs, towers, config
        torch.manual_seed(config.seed)
        self._rng = np.random.default_rng(config.seed)
        self._generator = torch.Generator().manual_seed(config.seed)
        self._centre()
        N = len(self.data.item_ids)
        chosen: Loss = "full" if N <= FULL_SOFTMAX_BELOW else "sampled"
        self._loss_name = chosen if config.loss == "auto" else config.loss
        self._count_N = torch.from_numpy(self.data.item_counts_N)
        self._id_N = torch.where(self._count_N > 0, torch.arange(1, N + 1), 0)
        self._has_profile_U = inputs.profile_UT.says_something_R
        self._weight_E = torch.from_numpy(self._target_weights())
        self._optimiser = torch.optim.AdamW(_parameter_groups(towers, config.weight_decay), lr=config.learning_rate)

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
        patience = epochs if score is None else self.config.patience
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
            "generator": self._generator.get_state(),
            "torch_rng": torch.get_rng_state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.towers.load_state_dict(state["towers"])
        self._best = state["best"]
        self._optimiser.load_state_dict(state["optimiser"])
        for name, value in state["log"].items():
            setattr(self._log, name, value)
        self._rng.bit_generator.state = state["numpy_rng"]
        self._generator.set_state(state["generator"])
        torch.set_rng_state(state["torch_rng"])

    def _centre(self) -> None:
        """Texts are read against the mean of the first training: towers that go on keep it, or all they know would shift."""
        if not bool(self.towers.item.text_mean.any()):
            has_text_N = np.abs(self.inputs.text_NT).sum(1) > 0
            if has_text_N.any():
                self.towers.item.text_mean.copy_(torch.from_numpy(self.inputs.text_NT[has_text_N].mean(0)))
        if not bool(self.towers.user.scenario.text_mean.any()):
            self.towers.user.scenario.centre(torch.from_numpy(self.inputs.scenario_text_ST))

    def _key(self, stops_early: bool) -> str:
        data, inputs = self.data, self.inputs
        arrays = [getattr(data, name) for name in ("user_E", "item_E", "kind_E", "scenario_E", "at_E", "weight_E")]
        features = [getattr(inputs.features, column) for column in inputs.features.__dataclass_fields__]
        profiles = (inputs.profile_UT.different_DT, inputs.profile_UT.place_R)
        texts = [inputs.text_NT, *profiles, inputs.scenario_text_ST]
        first = [value for _, value in sorted(self.towers.state_dict().items())]
        return key_of(
            len(data.user_ids), len(data.item_ids), *arrays, *features, *texts, *first,
            self.towers.config, self.config, self._cut, stops_early,
        )  # fmt: skip

    def _epoch(self, progress: Progress, epoch: int, epochs: int) -> float:
        self.towers.train()
        if self.config.hard_negatives:
            self._look_up()
        all_batches = Batches(self._windows(), EVENTS_PER_BATCH, self._rng)
        total, num_batches = 0.0, len(all_batches)
        for step, events_BL in enumerate(all_batches):
            loss = self._loss(events_BL)
            if loss is None:
                continue
            self._optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.towers.parameters(), 5.0)
            self._optimiser.step()
            total += loss.item()
            progress("train towers", (epoch + step / num_batches) / epochs)
        return total / max(1, num_batches)

    def _windows(self) -> Windows:
        """Those that hold something to predict."""
        found = (self._cut or windows)(self.data, self.towers.config.length, self._rng)
        return found.holding(self._weight_E.numpy() > 0)

    def _loss(self, events_BL: Int64Array) -> Tensor | None:
        target_BL = torch.from_numpy((events_BL != NOTHING) & (self._weight_E.numpy()[np.maximum(events_BL, 0)] > 0))
        if not bool(target_BL.any()):
            return None
        events_T = torch.from_numpy(events_BL)[target_BL].numpy()
        item_T = torch.from_numpy(self.data.item_E[events_T].astype(np.int64))
        cold_C = self._strangers(events_T, len(events_BL))
        weight_TC = torch.cat([self._weight_E[events_T], STRANGER_WEIGHT * self._weight_E[events_T[cold_C]]])
        cold_CD = self._by_profile(events_T[cold_C])
        if self._loss_name in ("full", "bce"):
            item_ND = self.item_vectors()
            user_TCD = torch.cat([self._users(events_BL, item_ND, None)[target_BL], cold_CD])
            target_TC = torch.cat([item_T, item_T[cold_C]])
            texts = self._text_losses(events_T, item_ND, item_T, self._count_N)
            if self._loss_name == "full":
                return full_softmax(user_TCD, item_ND, target_TC, weight_TC, self.towers.temperature) + texts
            negative_TC = torch.randint(0, len(item_ND), target_TC.shape, generator=self._generator)
            return bce(user_TCD, item_ND, target_TC, weight_TC, self.towers.temperature, negative_TC) + texts
        place_M, target_T, log_q_M = sample_negatives(
            item_T,
            self._count_N,
            self._generator,
            UNIFORM_NEGATIVES if self._loss_name == "sampled" else 0,
            self._hard(item_T),
        )
        rows, place = torch.unique(
            torch.cat(
                [place_M, torch.from_numpy(self.data.item_E[np.maximum(events_BL, 0)].astype(np.int64)).flatten()]
            ),
            return_inverse=True,
        )
        vectors = self.item_vectors(rows)
        history_BL = place[len(place_M) :].view(events_BL.shape)
        user_TCD = torch.cat([self._users(events_BL, vectors, history_BL)[target_BL], cold_CD])
        target_TC = torch.cat([target_T, target_T[cold_C]])
        items_MD = vectors[place[: len(place_M)]]
        tau, alpha = self.towers.temperature, self.config.logq_alpha
        texts = self._text_losses(events_T, items_MD, target_T, self._count_N[place_M])
        return in_batch_softmax(user_TCD, items_MD, target_TC, weight_TC, tau, log_q_M, alpha) + texts

    def _text_losses(self, events_T: Int64Array, item_MD: Tensor, place_T: Tensor, count_M: Tensor) -> Tensor:
        """The auxiliary losses by their weights; place_T: column of each target among the M items."""
        user, scenario = self.config.user_text_weight, self.config.scenario_text_weight
        total = item_MD.new_zeros(())
        if not user and not scenario:
            return total
        log_share_M = torch.log((count_M + 1.0) / (count_M + 1.0).sum())
        step = (self.towers, self.inputs, self.data, events_T, item_MD, place_T, log_share_M)
        if user:
            total = total + user * user_text_loss(*step, self._rng)
        if scenario:
            total = total + scenario * scenario_text_loss(*step)
        return total

    @torch.no_grad()
    def _look_up(self) -> None:
        """Item vectors [N, D] as they stand now, for `_hard` to search in."""
        self.towers.eval()
        self._near_ND = self.item_vectors()
        self.towers.train()

    def _hard(self, target_T: Tensor) -> Tensor | None:
        """Items [H] that are hardest to tell from some of the targets: the nearest in the index of the epoch's start."""
        if not self.config.hard_negatives:
            return None
        chosen_H = target_T[torch.randint(0, len(target_T), (self.config.hard_negatives,), generator=self._generator)]
        likeness_HN = self._near_ND[chosen_H] @ self._near_ND.T
        nearest_H: Tensor = likeness_HN.scatter_(1, chosen_H[:, None], -math.inf).argmax(1)
        return nearest_H

    def _strangers(self, events_T: Int64Array, num_windows: int) -> Int64Array:
        """Places [C] of some targets to be predicted once more, from the profile alone: a few for each window with a profile."""
        drawn = self._rng.permutation(len(events_T))[: STRANGERS_PER_WINDOW * num_windows]
        chosen: Int64Array = drawn[self._has_profile_U[self.data.user_E[events_T[drawn]]]]
        return chosen

    def _by_profile(self, events_C: Int64Array) -> Tensor:
        """User vectors [C, D] of the users of these events as if nothing were known of what they did."""
        data, C, D = self.data, len(events_C), self.towers.config.dim
        scenario_C = torch.from_numpy(self._scenarios(events_C[:, None])[:, 0])
        text_CT = torch.from_numpy(self.inputs.scenario_text_ST)[scenario_C]
        out: Tensor = self.towers.user(
            torch.zeros(C, 0, D),
            torch.zeros(C, 0, dtype=torch.int64),
            torch.zeros(C, 0),
            torch.zeros(C, 0, dtype=torch.bool),
            torch.zeros(C, 1),
            torch.from_numpy(self.inputs.profile_UT[data.user_E[events_C]]),
            self.towers.user.scenario(scenario_C, text_CT)[:, None],
        )
        return out[:, 0]

    def item_vectors(self, rows: Tensor | None = None) -> Tensor:
        """[N, D] of the whole catalogue, or of these rows."""
        features = self.inputs.features
        columns = (
            self._id_N, torch.from_numpy(self.inputs.text_NT), self._count_N, torch.from_numpy(features.category_N),
            torch.from_numpy(features.department_N), torch.from_numpy(features.brand_N), torch.from_numpy(features.price_N),
        )  # fmt: skip
        out: Tensor = self.towers.item(*(columns if rows is None else (column[rows] for column in columns)))
        return out

    def _users(self, events_BL: Int64Array, item_ND: Tensor, history_BL: Tensor | None) -> Tensor:
        """User vectors [B, L, D]: row p stands before event p of the window. history_BL: places of the events in item_ND."""
        data, events = self.data, np.maximum(events_BL, 0)
        if history_BL is None:
            history_BL = torch.from_numpy(data.item_E[events].astype(np.int64))
        at_BL = data.at_E[events]
        gap_BL = np.zeros(events.shape, np.float32)
        gap_BL[:, 1:] = np.maximum(at_BL[:, 1:] - at_BL[:, :-1], 0.0) / 3600.0
        scenario_SD = self.towers.user.scenario(
            torch.arange(len(data.scenarios)), torch.from_numpy(self.inputs.scenario_text_ST)
        )
        out: Tensor = self.towers.user(
            item_ND[history_BL[:, :-1]],
            torch.from_numpy(data.kind_E[events[:, :-1]]),
            torch.from_numpy(gap_BL[:, :-1]),
            torch.from_numpy(events_BL[:, :-1] != NOTHING),
            torch.from_numpy(gap_BL),
            torch.from_numpy(self.inputs.profile_UT[data.user_E[events[:, 0]]]),
            scenario_SD[torch.from_numpy(self._scenarios(events))],
        )
        return out

    def _scenarios(self, events_BL: Int64Array) -> Int64Array:
        """Scenario rows [B, L] the windows are read in; some are read as the whole shop, so that this is a trained state too."""
        left_out_B1 = self._rng.random((len(events_BL), 1)) < self.towers.config.scenario_left_out
        return np.where(left_out_B1, 0, self.data.scenario_E[events_BL]).astype(np.int64)

    def _target_weights(self) -> Float32Array:
        """Event weight, times an inverse-root boost of small scenarios (capped); 0 where there is nothing to predict."""
        data = self.data
        counts_S = np.maximum(np.bincount(data.scenario_E, minlength=len(data.scenarios)), 1)
        boost_S = np.minimum(np.sqrt(counts_S.max() / counts_S), MAX_SCENARIO_BOOST)
        weight_E = data.weight_E * boost_S[data.scenario_E]
        if not self.config.predict_repeats:
            weight_E = np.where(data.is_repeat_E, 0.0, weight_E)
        return np.where(data.is_target_E, weight_E, 0.0).astype(np.float32)


def _learning_rate(epoch: int, epochs: int) -> float:
    """Cosine from 1 to 0.05."""
    return 0.05 + 0.95 * 0.5 * (1.0 + math.cos(math.pi * epoch / epochs))


def _parameter_groups(towers: Towers, weight_decay: float) -> list[dict[str, object]]:
    """Decay on matrices and tables, none on gains, biases and the temperature."""
    decayed = [p for p in towers.parameters() if p.ndim >= 2]
    plain = [p for p in towers.parameters() if p.ndim < 2]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
