from dataclasses import replace

import numpy as np
import pytest
import torch

from app.features.users import KINDS, HistoryItem, fold_users
from app.model.runner import TowerRunner
from app.model.towers import Towers
from tests.unit.model.test_scenario_adapter import CONFIG, shaken


@pytest.mark.parametrize("blocks", [0, 1])
@pytest.mark.parametrize("has_adapter", [True, False])
def test_serving_reads_a_history_as_training_does(
    monkeypatch: pytest.MonkeyPatch, blocks: int, has_adapter: bool
) -> None:
    towers = Towers(replace(CONFIG, blocks=blocks, length=5, scenario_adapter=has_adapter))
    shaken(towers.user)
    runner, draw = TowerRunner(towers), np.random.default_rng(1)
    ages = [[], [0.0], [1000.0, 60.0, 0.5], [3.0] * 5, [500.0, 400.0, 20.0, 10.0, 1 / 60, 0.0, 0.0, 0.0]]
    kinds = list(KINDS.values())
    histories = [
        [HistoryItem(n, int(draw.choice(kinds)), -hours * 3600) for n, hours in enumerate(of_user)] for of_user in ages
    ]
    profile_BT = draw.standard_normal((5, CONFIG.text_dim)).astype(np.float32)
    profile_BT[2] = 0.0
    users = fold_users(histories, [0.0] * 5, profile_BT, [0] * 5, length=9)
    item_BLD = draw.standard_normal((5, 9, CONFIG.dim)).astype(np.float32) * (users.history_BL >= 0)[..., None]
    scenario_BD = draw.standard_normal((5, CONFIG.dim)).astype(np.float32)
    scenario_BD[[1, 3]] = 0.0
    quick_BD = runner.user_vectors(users, item_BLD, scenario_BD)
    monkeypatch.setattr(runner, "_quick", {})
    np.testing.assert_allclose(quick_BD, runner.user_vectors(users, item_BLD, scenario_BD), atol=2e-6)


def test_serving_follows_what_training_does_to_the_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    towers = Towers(CONFIG)
    runner = TowerRunner(towers)
    users = fold_users([[]], [0.0], np.zeros((1, CONFIG.text_dim), np.float32), [0])
    item_BLD, scenario_BD = np.zeros((1, 100, CONFIG.dim), np.float32), np.zeros((1, CONFIG.dim), np.float32)
    before_BD = runner.user_vectors(users, item_BLD, scenario_BD)
    with torch.no_grad():
        towers.user.start.add_(torch.randn(CONFIG.dim))
    assert not np.allclose(runner.user_vectors(users, item_BLD, scenario_BD), before_BD)
