"""One user, one record: what a private step reads of a user, nothing of which depends on anybody else.

Shapes: E events, U users with something to predict, B users of a step, L events of a window, P = L predictions, S scenarios, T text.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from app.learning.dataset import Interactions
from app.learning.inputs import Inputs
from app.learning.training_config import TrainingConfig
from app.model.config import TowerConfig
from app.types import Float32Array, Int64Array

LENGTH = 50  # events of a window: half of what the tower reads when it serves, at half the cost of a step


@dataclass(frozen=True)
class Records:
    """Of B users. history_BL: items before each prediction, oldest first; target_BP, weight_BP: the item that came, and what it counts
    (0: padding, or nothing to predict). scenario_BP: rows of scenarios. known_BS: ids of the scenarios, 0 where only the words are read."""

    history_BL: Tensor
    kind_BL: Tensor
    gap_BL: Tensor
    visible_BL: Tensor
    recency_BP: Tensor
    profile_BT: Tensor
    scenario_BP: Tensor
    known_BS: Tensor
    target_BP: Tensor
    weight_BP: Tensor

    def columns(self) -> tuple[Tensor, ...]:
        return tuple(getattr(self, name) for name in self.__dataclass_fields__)


class RecordReader:
    """Cuts a window of each user's events at random and lays it out. A user's window and weights are read off that user's events alone:
    the boost of small scenarios, which counts everybody's, is left out."""

    def __init__(self, data: Interactions, inputs: Inputs, towers: TowerConfig, config: TrainingConfig) -> None:
        """data: collapsed."""
        self.data, self.inputs, self.towers = data, inputs, towers
        self.weight_E = _target_weights(data, config.predict_repeats)
        self.users = np.unique(data.user_E[self.weight_E > 0]).astype(np.int64)

    def read(self, users: Int64Array, rng: np.random.Generator) -> Records:
        data, length = self.data, min(LENGTH, self.towers.length)
        start_B, size_B = data.starts_U1[users], np.diff(data.starts_U1)[users]
        first_B = start_B + rng.integers(0, np.maximum(size_B - length, 0) + 1)
        taken_B = np.minimum(size_B, length)
        columns_L = np.arange(max(2, int(taken_B.max(initial=0))))
        here_BL = columns_L < taken_B[:, None]
        events = np.where(here_BL, first_B[:, None] + columns_L, first_B[:, None])
        gap_BL = np.zeros(events.shape, np.float32)
        gap_BL[:, 1:] = np.maximum(data.at_E[events[:, 1:]] - data.at_E[events[:, :-1]], 0.0) / 3600.0
        left_out_B1 = rng.random((len(users), 1)) < self.towers.scenario_left_out
        num_scenarios = len(data.scenarios)
        unknown_BS = rng.random((len(users), num_scenarios)) < self.towers.scenario_dropout
        return Records(
            history_BL=torch.from_numpy(data.item_E[events[:, :-1]].astype(np.int64)),
            kind_BL=torch.from_numpy(data.kind_E[events[:, :-1]].astype(np.int64)),
            gap_BL=torch.from_numpy(gap_BL[:, :-1].copy()),
            visible_BL=torch.from_numpy(here_BL[:, :-1].copy()),
            recency_BP=torch.from_numpy(gap_BL),
            profile_BT=torch.from_numpy(self.inputs.profile_UT[users]),
            scenario_BP=torch.from_numpy(np.where(left_out_B1, 0, data.scenario_E[events]).astype(np.int64)),
            known_BS=torch.from_numpy(np.where(unknown_BS, 0, np.arange(num_scenarios)).astype(np.int64)),
            target_BP=torch.from_numpy(data.item_E[events].astype(np.int64)),
            weight_BP=torch.from_numpy(np.where(here_BL, self.weight_E[events], 0.0).astype(np.float32)),
        )


def _target_weights(data: Interactions, predict_repeats: bool) -> Float32Array:
    wanted_E = data.is_target_E if predict_repeats else data.is_target_E & ~data.is_repeat_E
    return np.where(wanted_E, data.weight_E, 0.0).astype(np.float32)
