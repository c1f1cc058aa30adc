from dataclasses import replace

import pytest
import torch

from app.model.user_tower import UserTower
from tests.unit.model.test_scenario_adapter import CONFIG, shaken


@pytest.mark.parametrize("blocks", [0, 1, 2])
def test_one_position_is_the_same_as_all_of_them_at_that_place(blocks: int) -> None:
    """Serving asks for the end of each history, training for every position."""

    tower = UserTower(replace(CONFIG, blocks=blocks, length=5))
    shaken(tower)
    generator = torch.Generator().manual_seed(2)
    lengths_B = torch.tensor([0, 1, 3, 5])
    B, L, D = len(lengths_B), 5, CONFIG.dim
    visible_BL = torch.arange(L)[None] < lengths_B[:, None]
    item_BLD = torch.randn(B, L, D, generator=generator) * visible_BL[..., None]
    kind_BL = torch.randint(0, 9, (B, L), generator=generator)
    gap_BL = torch.rand(B, L, generator=generator) * 100
    recency_BP = torch.rand(B, L + 1, generator=generator) * 100
    profile_BT = torch.randn(B, CONFIG.text_dim, generator=generator)
    scenario_BD = torch.randn(B, D, generator=generator)
    each_B = torch.arange(B)
    everywhere = tower(
        item_BLD, kind_BL, gap_BL, visible_BL, recency_BP, profile_BT, scenario_BD[:, None].expand(B, L + 1, D)
    )
    at_end = tower(
        item_BLD, kind_BL, gap_BL, visible_BL, recency_BP[each_B, lengths_B, None], profile_BT, scenario_BD[:, None],
        lengths_B,
    )  # fmt: skip
    assert at_end.shape == (B, 1, D)
    assert torch.allclose(at_end[:, 0], everywhere[each_B, lengths_B], atol=1e-6)
