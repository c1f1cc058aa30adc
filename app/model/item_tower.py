"""Item tower: LLM-encoded text, id, category, brand and price -> one unit vector, the same in every scenario.

Shapes: N items, T text, D dim, H hidden.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from app.model.config import TowerConfig


class ItemTower(nn.Module):
    """item = LayerNorm(g * id + MLP(text) + category + department + brand + price), scaled to unit length.

    g = sigmoid(MLP[text, log1p(count)]) lets an item lean on its id only as far as its events support it; with row 0 and
    count 0 (a new item) the text carries it alone.
    """

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        D, T, H = config.dim, config.text_dim, config.hidden
        self.id_dropout = config.id_dropout
        self.id = nn.Embedding(config.num_items, D, padding_idx=0)
        self.category = nn.Embedding(config.num_categories, D, padding_idx=0)
        self.department = nn.Embedding(config.num_departments, D, padding_idx=0)
        self.brand = nn.Embedding(config.num_brands, D, padding_idx=0)
        self.price = nn.Embedding(config.num_prices, D, padding_idx=0)
        self.text = nn.Sequential(nn.Linear(T, H), nn.GELU(), nn.Dropout(config.dropout), nn.Linear(H, D))
        self.gate = nn.Sequential(nn.Linear(T + 1, H), nn.GELU(), nn.Linear(H, D))
        self.norm = nn.LayerNorm(D)
        self.register_buffer("text_mean", torch.zeros(T))
        for table in (self.id, self.category, self.department, self.brand, self.price):
            nn.init.normal_(table.weight, std=0.05)
            with torch.no_grad():
                table.weight[0].zero_()

    text_mean: Tensor  # [T], subtracted first: sentence vectors of one shop share a large common part

    def forward(
        self, id_N: Tensor, text_NT: Tensor, count_N: Tensor, category_N: Tensor, department_N: Tensor,
        brand_N: Tensor, price_N: Tensor,
    ) -> Tensor:  # fmt: skip
        """count_N: events the item was trained with. Returns float32 [N, D], unit rows."""
        has_text_N1 = (text_NT.abs().sum(-1, keepdim=True) > 0).to(text_NT.dtype)
        text_NT = (text_NT - self.text_mean) * has_text_N1
        if self.training and self.id_dropout > 0:
            kept_N = (torch.rand(len(id_N), device=id_N.device) >= self.id_dropout).to(id_N.dtype)
            id_N, count_N = id_N * kept_N, count_N * kept_N
        gate_ND = torch.sigmoid(self.gate(torch.cat([text_NT, torch.log1p(count_N.float())[:, None] / 8.0], -1)))
        sum_ND = (
            gate_ND * self.id(id_N)
            + self.text(text_NT) * has_text_N1
            + self.category(category_N)
            + self.department(department_N)
            + self.brand(brand_N)
            + self.price(price_N)
        )
        return F.normalize(self.norm(sum_ND), dim=-1)
