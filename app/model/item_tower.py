"""Item tower: LLM-encoded text, id, category, brand and price -> one unit vector, the same in every scenario.

Shapes: N items, T text, D dim, H hidden.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from app.model.config import TowerConfig
from app.model.dropout import Dropout
from app.processor import BFLOAT16


class ItemTower(nn.Module):
    """item = LayerNorm(g * id + MLP(text) + category + department + brand + price), scaled to unit length.

    g = sigmoid(linear[hidden layer of the text MLP, log1p(count)]) lets an item lean on its id only as far as its events
    support it; with row 0 and count 0 (a new item) the text carries it alone.
    """

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        D, T, H = config.dim, config.text_dim, config.hidden
        self.config = config
        self.id = nn.Embedding(config.num_items, D, padding_idx=0)
        self.category = nn.Embedding(config.num_categories, D, padding_idx=0)
        self.department = nn.Embedding(config.num_departments, D, padding_idx=0)
        self.brand = nn.Embedding(config.num_brands, D, padding_idx=0)
        self.price = nn.Embedding(config.num_prices, D, padding_idx=0)
        self.text_hidden = nn.Sequential(nn.Linear(T, H), nn.GELU())
        self.text = nn.Sequential(Dropout(config.dropout), nn.Linear(H, D))
        self.gate = nn.Linear(H + 1, D)
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
        has_text_N1 = (torch.linalg.vector_norm(text_NT, dim=-1, keepdim=True) > 0).to(text_NT.dtype)
        if self.training and self.config.id_dropout > 0:
            kept_N = (torch.rand(len(id_N), device=id_N.device) >= self.config.id_dropout).to(id_N.dtype)
            id_N, count_N = id_N * kept_N, count_N * kept_N
        sum_ND = self.category(category_N) + self.department(department_N) + self.brand(brand_N) + self.price(price_N)
        hidden_NH = self._text_hidden(text_NT) * has_text_N1 * float(self.config.has_text)
        if self.config.has_text:
            sum_ND = sum_ND + self.text(hidden_NH) * has_text_N1
        if self.config.has_id:
            sum_ND = sum_ND + self._gate(hidden_NH, count_N) * self.id(id_N)
        return F.normalize(self.norm(sum_ND), dim=-1)

    def _text_hidden(self, text_NT: Tensor) -> Tensor:
        """[N, H] of the texts less their mean, which is taken off behind the product, where it is one row. The widest product of a training
        step, so in bf16 where that is fast: half the time, same quality."""
        project, activate = self.text_hidden
        assert isinstance(project, nn.Linear)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.training and BFLOAT16):
            hidden_NH: Tensor = F.linear(text_NT, project.weight)
        shift_H = project.bias - F.linear(self.text_mean, project.weight)
        out_NH: Tensor = activate(hidden_NH.float() + shift_H)
        return out_NH

    def _gate(self, hidden_NH: Tensor, count_N: Tensor) -> Tensor:
        """[N, D] in 0-1; without the gate ones, but zeros where there is no id to speak of."""
        log_count_N1 = torch.log1p(count_N.float())[:, None]
        if not self.config.has_gate:
            return (log_count_N1 > 0).float()
        return torch.sigmoid(self.gate(torch.cat([hidden_NH, log_count_N1 / 8.0], -1)))
