import torch
from torch.nn import functional as F

from app.model.item_tower import ItemTower
from tests.unit.model.test_scenario_adapter import CONFIG


def test_texts_are_read_against_their_mean_and_an_item_without_one_has_none() -> None:
    torch.manual_seed(0)
    tower = ItemTower(CONFIG).eval()
    tower.text_mean.copy_(torch.randn(CONFIG.text_dim))
    text_NT = torch.randn(3, CONFIG.text_dim)
    text_NT[2] = 0.0
    nothing_N = torch.zeros(3, dtype=torch.int64)
    vectors_ND = tower(nothing_N, text_NT, nothing_N, nothing_N, nothing_N, nothing_N, nothing_N)
    plain_ND = tower.text(tower.text_hidden(text_NT[:2] - tower.text_mean))
    assert torch.allclose(vectors_ND[:2], F.normalize(tower.norm(plain_ND), dim=-1), atol=1e-6)
    assert torch.allclose(vectors_ND[2], F.normalize(tower.norm(torch.zeros(CONFIG.dim)), dim=-1), atol=1e-6)
