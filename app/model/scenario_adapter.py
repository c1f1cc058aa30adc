"""What a scenario changes in the user tower: a gate on its output and a low-rank residual, both driven by the scenario vector.

The zero vector means "the whole shop": there the adapter is the identity, so that the shared part is a state of its own, trained
for (`TowerConfig.scenario_left_out`), which the guard can fall back to. Shapes: S scenarios, T text, D dim, R rank.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from app.model.config import TowerConfig


class ScenarioEmbedding(nn.Module):
    """scenario = words + id: a linear map of the centred description, and a learned vector (row 0: none, its words are all there is).

    Both start at zero, so that a scenario without events, and words unlike any that were trained with, say little instead of
    something random.
    """

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.id_dropout = config.scenario_dropout
        self.id = nn.Embedding(config.num_scenarios, config.dim, padding_idx=0)
        self.text = nn.Linear(config.text_dim, config.dim, bias=False)
        self.register_buffer("text_mean", torch.zeros(config.text_dim))
        nn.init.zeros_(self.id.weight)
        nn.init.zeros_(self.text.weight)

    text_mean: Tensor  # [T], subtracted first: descriptions of scenarios share most of their direction

    def forward(self, id_S: Tensor, text_ST: Tensor) -> Tensor:
        """float32 [S, D]; zero for a row without id and text."""
        if self.training and self.id_dropout > 0:
            id_S = id_S * (torch.rand(len(id_S), device=id_S.device) >= self.id_dropout).to(id_S.dtype)
        has_text_S1 = (text_ST.abs().sum(-1, keepdim=True) > 0).to(text_ST.dtype)
        out: Tensor = self.id(id_S) + self.text((text_ST - self.text_mean) * has_text_S1)
        return out

    def centre(self, text_ST: Tensor) -> None:
        """Take the mean of the descriptions that are not empty as the common part."""
        described = text_ST[text_ST.abs().sum(-1) > 0]
        with torch.no_grad():
            self.text_mean.copy_(described.mean(0) if len(described) else torch.zeros_like(self.text_mean))


class ScenarioAdapter(nn.Module):
    """user * 2·sigmoid(MLP[scenario, stop_grad(user)]) + up(code(scenario) * down(user)).

    Both parts start as the identity. The gate is EPNet's (Chang et al. 2023): the features pass no gradient to it. The residual
    is a rank-R matrix that the scenario mixes from R shared directions.
    """

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        D, R = config.dim, config.scenario_rank
        self.gate = nn.Sequential(nn.Linear(2 * D, D), nn.GELU(), nn.Linear(D, D))
        self.code, self.down, self.up = (nn.Linear(a, b, bias=False) for a, b in ((D, R), (D, R), (R, D)))
        last = self.gate[-1]
        assert isinstance(last, nn.Linear)
        for parameter in (last.weight, last.bias, self.up.weight):
            nn.init.zeros_(parameter)

    def forward(self, user: Tensor, scenario: Tensor) -> Tensor:
        """Both [..., D]; rows with a zero scenario vector pass unchanged."""
        present = (scenario.abs().sum(-1, keepdim=True) > 0).to(user.dtype)
        gate = 2.0 * torch.sigmoid(present * self.gate(torch.cat([scenario, user.detach()], -1)))
        residual: Tensor = self.up(self.code(scenario) * self.down(user))
        return gate * user + residual
