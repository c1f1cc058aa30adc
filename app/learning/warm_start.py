"""Incremental retraining: the live towers go on with what happened since, on a catalogue that may have grown.

Shapes: N items, S scenarios.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from app.learning.dataset import Interactions
from app.learning.fit import Choices, FitConfig, extend
from app.learning.inputs import Inputs
from app.model.towers import Towers
from app.retrieval.snapshot import Snapshot
from app.types import Progress

EPOCHS = 2


def continue_from(
    snapshot: Snapshot, data: Interactions, inputs: Inputs, config: FitConfig, progress: Progress
) -> Snapshot:
    """Everything tuned stays as it was; linear sources are fitted anew. inputs: encoded with the snapshot's vocabulary."""
    choices = Choices(
        epochs=EPOCHS * 4,
        sources=snapshot.manifest.sources,
        fusion=snapshot.fusion,
        transfer=snapshot.transfer,
        report={"continued_from": snapshot.version},
    )
    towers = transplant(snapshot, data, config.training.seed)
    return extend(towers, data, inputs, replace(config, mode="incremental"), choices, progress)


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
