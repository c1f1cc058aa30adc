"""A user tower for one scenario: the shared one, trained on with that scenario's targets only, over item vectors that stand still."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from app.learning.dataset import Interactions
from app.learning.inputs import Inputs
from app.learning.objective import Objective
from app.learning.training import Trainer
from app.learning.training_config import TrainingConfig
from app.model.separate import SHARED_PART, difference
from app.model.towers import Towers
from app.types import Float32Array, Int64Array, Progress

PASSES = 2
RATE = 0.5  # learning rate against the towers' own


class ScenarioObjective(Objective):
    """Trains nothing but the user tower. The whole history stays its input; only events of the scenario are predicted."""

    def __init__(
        self, scenario: int, data: Interactions, inputs: Inputs, towers: Towers, config: TrainingConfig,
        rng: np.random.Generator,
    ) -> None:  # fmt: skip
        """towers: trained in place, so give a copy. scenario: row of data.scenarios."""
        self._scenario = scenario
        super().__init__(data, inputs, towers, config, rng)
        towers.eval().requires_grad_(False)
        with torch.inference_mode():
            still_ND = super().item_vectors()
        self._still_ND = torch.from_numpy(still_ND.numpy().copy())

    def trained(self) -> list[nn.Parameter]:
        own = [p for name, p in self.towers.user.named_parameters() if not name.startswith(SHARED_PART)]
        for parameter in own:
            parameter.requires_grad_()
        return own

    def item_vectors(self, rows: Tensor | None = None) -> Tensor:
        return self._still_ND if rows is None else self._still_ND[rows]

    def _scenarios(self, events_BL: Int64Array) -> Int64Array:
        return self.data.scenario_E[events_BL].astype(np.int64)

    def _target_weights(self) -> Float32Array:
        return np.where(self.data.scenario_E == self._scenario, super()._target_weights(), 0.0).astype(np.float32)


def separate_tower(
    towers: Towers, data: Interactions, inputs: Inputs, config: TrainingConfig, scenario: int, progress: Progress
) -> dict[str, Tensor]:
    """How the scenario's own user tower differs from `towers`, which are left as they are."""
    own = copy.deepcopy(towers)
    config = replace(config, epochs=PASSES, learning_rate=config.learning_rate * RATE, weight_decay=0.0)
    Trainer(data, inputs, own, config, objective=partial(ScenarioObjective, scenario)).run(progress)
    return difference(towers.user, own.user)
