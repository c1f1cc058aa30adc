"""What a scenario may change in the user tower, and what it must leave alone."""

import numpy as np
import torch

from app.model.config import TowerConfig
from app.model.scenario_adapter import ScenarioAdapter, ScenarioEmbedding
from app.model.user_tower import UserTower

CONFIG = TowerConfig(
    num_items=5, num_categories=2, num_departments=2, num_brands=2, num_prices=2, num_scenarios=3, text_dim=6, dim=8,
    hidden=8,
)  # fmt: skip


def shaken(module: torch.nn.Module) -> torch.nn.Module:
    """Any trained weights: none of what starts at zero is zero."""
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator))
    return module.eval()


def vectors(rows: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(rows, 8)).astype(np.float32))


def test_the_adapter_starts_as_the_identity() -> None:
    user, scenario = vectors(4), vectors(4, 1)
    assert torch.equal(ScenarioAdapter(CONFIG)(user, scenario), user)


def test_a_trained_adapter_changes_the_user_in_a_scenario_and_not_in_the_whole_shop() -> None:
    adapter, user = shaken(ScenarioAdapter(CONFIG)), vectors(4)
    scenario = vectors(4, 1)
    scenario[:2] = 0.0
    out = adapter(user, scenario)
    assert torch.equal(out[:2], user[:2])
    assert (out[2:] - user[2:]).abs().max() > 0.1


def test_the_gate_scales_by_at_most_two_and_passes_no_gradient_to_the_user() -> None:
    adapter = shaken(ScenarioAdapter(CONFIG))
    assert isinstance(adapter, ScenarioAdapter)
    torch.nn.init.zeros_(adapter.up.weight)
    user, scenario = vectors(4).requires_grad_(), vectors(4, 1)
    out = adapter(user, scenario)
    ratio = out / user
    assert 0.0 <= ratio.min().item() <= ratio.max().item() <= 2.0
    out.sum().backward()
    assert user.grad is not None
    assert torch.allclose(user.grad, ratio, atol=1e-5)  # the gate alone, nothing through the gate's own input


def test_without_id_and_words_a_scenario_is_the_whole_shop() -> None:
    embedding = shaken(ScenarioEmbedding(CONFIG))
    assert isinstance(embedding, ScenarioEmbedding)
    embedding.id.weight.data[0] = 0.0
    text = torch.zeros(3, 6)
    text[1:, 0], text[2, 1] = 1.0, 1.0
    embedding.centre(text)
    out = embedding(torch.tensor([0, 0, 2]), text)
    assert not out[0].any()  # row 0, no text
    assert out[1].any()  # words alone
    assert out[2].any()


def test_centring_takes_the_part_that_all_descriptions_share() -> None:
    embedding = shaken(ScenarioEmbedding(CONFIG))
    assert isinstance(embedding, ScenarioEmbedding)
    embedding.id.weight.data[0] = 0.0
    text = torch.rand(3, 6) + 5.0
    embedding.centre(text)
    out = embedding(torch.zeros(3, dtype=torch.int64), text)
    assert torch.allclose(out.sum(0), torch.zeros(8), atol=1e-4)
    embedding.centre(torch.zeros(3, 6))
    assert not embedding.text_mean.any()


def test_the_user_tower_ignores_the_adapter_in_the_whole_shop() -> None:
    tower = UserTower(CONFIG)
    shaken(tower)
    B, L = 2, 3
    history = (vectors(B * L).view(B, L, 8), torch.zeros(B, L, dtype=torch.int64), torch.zeros(B, L))
    rest = (torch.ones(B, L, dtype=torch.bool), torch.zeros(B, L + 1), torch.zeros(B, 6))
    nowhere, somewhere = torch.zeros(B, L + 1, 8), vectors(B * (L + 1), 2).view(B, L + 1, 8)
    before, inside = tower(*history, *rest, nowhere), tower(*history, *rest, somewhere)
    tower.adapter = None
    assert torch.allclose(tower(*history, *rest, nowhere), before, atol=1e-6)
    assert not torch.allclose(tower(*history, *rest, somewhere), inside, atol=1e-3)
