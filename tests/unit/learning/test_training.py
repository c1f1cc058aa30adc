"""How long a training goes on without a gain."""

from __future__ import annotations

import pytest
import torch

from app.encoding.encoder import Encoder
from app.learning import training
from app.learning.dataset import interactions
from app.learning.inputs import encode_inputs
from app.learning.training import Trainer, tower_config
from app.learning.training_config import TrainingConfig
from app.model.towers import Towers
from app.types import no_progress
from tests.unit.learning.builders import shop


@pytest.mark.parametrize(("steps_of_a_pass", "passes"), [(1, 5), (250, 5), (333, 4), (500, 3), (100_000, 3)])
def test_patience_is_counted_in_steps(steps_of_a_pass: int, passes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a score that never gets better than at first: the first pass, and those that were waited for."""
    rows = [(f"u{user}", f"thing {(user + n) % 5}", float(user * 7 + n)) for user in range(4) for n in range(5)]
    data = interactions(shop(rows))
    inputs = encode_inputs(shop(rows), data, Encoder(), no_progress)
    monkeypatch.setattr(training, "num_steps", lambda _: steps_of_a_pass)
    torch.manual_seed(0)
    trainer = Trainer(data, inputs, Towers(tower_config(data, inputs)), TrainingConfig(epochs=20))
    log = trainer.run(no_progress, lambda _: 0.5)
    assert (len(log.losses), log.best_epoch) == (passes, 1)
