import numpy as np
import pytest
import torch

from app.encoding.encoder import Encoder
from app.learning.dataset import interactions
from app.learning.inputs import encode_inputs
from app.learning.training import Trainer, tower_config
from app.learning.training_config import TrainingConfig
from app.model.towers import Towers
from app.types import no_progress
from tests.unit.learning.builders import shop

ROWS = [(f"u{user}", f"thing {(user * 3 + n * 5) % 11}", float(user * 7 + n)) for user in range(20) for n in range(8)]


@pytest.mark.parametrize("hard_negatives", [0, 6])
def test_the_nearest_other_item_of_each_target_is_a_negative(hard_negatives: int) -> None:
    data = interactions(shop(ROWS))
    inputs = encode_inputs(shop(ROWS), data, Encoder(), no_progress)
    torch.manual_seed(1)
    towers = Towers(tower_config(data, inputs))
    config = TrainingConfig(epochs=1, loss="sampled", hard_negatives=hard_negatives)
    trainer = Trainer(data, inputs, towers, config)
    pools: list[torch.Tensor] = []
    find = trainer.objective._hard

    def watch(target_T: torch.Tensor) -> torch.Tensor | None:
        found = find(target_T)
        if found is not None:
            pools.append(found)
            vectors = trainer.objective._near_ND.numpy()
            likeness = vectors @ vectors.T
            np.fill_diagonal(likeness, -np.inf)
            assert set(found.tolist()) <= set(likeness[target_T.numpy()].argmax(1).tolist())
        return found

    trainer.objective._hard = watch  # type: ignore[method-assign]
    log = trainer.run(no_progress)
    assert np.isfinite(log.losses).all()
    assert [len(pool) for pool in pools] == [hard_negatives] * len(pools)
    assert bool(pools) == bool(hard_negatives)
