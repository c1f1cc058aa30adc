"""User tower: profile text, recent events and scenario -> one unit vector in the space of the item vectors.

Causal, so that one pass over a window trains a prediction at every position, and padding behind the history is never
looked at. Shapes: B users, L history, P positions (L + 1: a learned start token comes first), D dim, T text, S scenarios.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from app.features.users import NUM_KINDS
from app.model.config import TowerConfig
from app.model.dropout import Dropout
from app.model.scenario_adapter import ScenarioAdapter, ScenarioEmbedding

ROUNDING_MINUTES = 1e-3
GAP_BUCKETS = 20  # log2 of minutes: bucket 0 under a minute, 19 over half a year


def gap_bucket(hours: Tensor) -> Tensor:
    """int64, same shape: log2 bucket of a time gap. A gap of whole minutes, where buckets begin, never falls short by rounding."""
    return torch.log2(1.0 + hours.clamp(min=0) * 60.0 + ROUNDING_MINUTES).long().clamp(max=GAP_BUCKETS - 1)


class Block(nn.Module):
    """Pre-norm causal self-attention with a learned bias per head and distance, then a feed-forward layer."""

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        D = config.dim
        self.heads = config.heads
        self.dropout = config.dropout
        self.norm1, self.norm2 = nn.LayerNorm(D), nn.LayerNorm(D)
        self.qkv, self.out = nn.Linear(D, 3 * D), nn.Linear(D, D)
        self.feed = nn.Sequential(
            nn.Linear(D, 4 * D), nn.GELU(), Dropout(config.dropout), nn.Linear(4 * D, D), Dropout(config.dropout)
        )
        self.distance = nn.Parameter(torch.zeros(config.heads, config.length + 1))

    def forward(self, x_BPD: Tensor, visible_BP: Tensor, at_B: Tensor | None = None) -> Tensor:
        """[B, P, D], or [B, 1, D] of the one position of each user."""
        B, P, D = x_BPD.shape
        q, k, v = self.qkv(self.norm1(x_BPD)).view(B, P, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        steps = torch.arange(P, device=x_BPD.device)
        back_PP = steps[:, None] - steps[None, :]
        bias_1HPP = self.distance[:, back_PP.clamp(0, self.distance.shape[1] - 1)][None]
        mask_B1PP = (back_PP >= 0)[None, None] & visible_BP[:, None, None, :]
        mask_B1PP = mask_B1PP | torch.eye(P, dtype=torch.bool, device=x_BPD.device)  # a padded row sees itself: no NaN
        bias_BHPP = bias_1HPP.masked_fill(~mask_B1PP, -math.inf)
        if at_B is not None:
            each_B = torch.arange(B, device=x_BPD.device)
            x_BPD, q, bias_BHPP = x_BPD[each_B, at_B, None], q[each_B, :, at_B, None], bias_BHPP[each_B, :, at_B, None]
        attended = F.scaled_dot_product_attention(
            q, k, v, attn_mask=bias_BHPP, dropout_p=self.dropout if self.training else 0.0
        )
        x_BPD = x_BPD + self.out(attended.transpose(1, 2).reshape(x_BPD.shape))
        out: Tensor = x_BPD + self.feed(self.norm2(x_BPD))
        return out


class UserTower(nn.Module):
    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        D, T, H = config.dim, config.text_dim, config.hidden
        self.config = config
        self.start = nn.Parameter(torch.randn(D) * 0.05)
        self.kind = nn.Embedding(NUM_KINDS, D)
        self.gap = nn.Embedding(GAP_BUCKETS, D)
        self.recency = nn.Embedding(GAP_BUCKETS, D)
        self.profile = nn.Sequential(nn.Linear(T, H), nn.GELU(), Dropout(config.dropout), nn.Linear(H, D))
        self.scenario = ScenarioEmbedding(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.dropout = Dropout(config.dropout)
        self.mix = nn.Sequential(
            nn.Linear((4 + len(config.decays)) * D, H), nn.GELU(), Dropout(config.dropout), nn.Linear(H, D)
        )
        self.mean_share = nn.Parameter(torch.ones(len(config.decays)))
        self.adapter = ScenarioAdapter(config) if config.scenario_adapter else None
        self.norm = nn.LayerNorm(D)
        for table in (self.kind, self.gap, self.recency):
            nn.init.normal_(table.weight, std=0.02)

    def forward(
        self, item_BLD: Tensor, kind_BL: Tensor, gap_BL: Tensor, visible_BL: Tensor, recency_BP: Tensor,
        profile_BT: Tensor, scenario_BPD: Tensor, at_B: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Unit vectors float32 [B, P, D], P = L + 1: row p predicts what follows the first p events.

        item_BLD: vectors of the events, oldest first. gap_BL: hours since the event before. visible_BL: False for padding, on the right.
        recency_BP: hours from the last event before the prediction to the prediction. scenario_BPD: from `scenario`, of the
        prediction at each position. at_B: the one position of each user that is wanted; then P = 1 in all of these and in what is
        returned, and most of the work is left out.
        """
        B, L, D = item_BLD.shape
        start_B1D = self.start.expand(B, 1, D)
        events_BLD = item_BLD + self.kind(kind_BL) + self.gap(gap_bucket(gap_BL))
        x_BPD = self.dropout(torch.cat([start_B1D, events_BLD], 1))
        P = L + 1 if at_B is None else 1
        if not self.blocks:
            x_BPD = start_B1D.expand(B, P, D)
        visible_BP = torch.cat([visible_BL.new_ones(B, 1), visible_BL], 1)
        for place, block in enumerate(self.blocks, start=1):
            x_BPD = block(x_BPD, visible_BP, at_B if place == len(self.blocks) else None)
        means_BPD = [self._decayed_mean(item_BLD, visible_BL, decay, at_B) for decay in self.config.decays]
        profile_BPD = self.profile(profile_BT)[:, None].expand(B, P, D) * (profile_BT.abs().sum(-1) > 0)[:, None, None]
        recency_BPD = self.recency(gap_bucket(recency_BP))
        user_BPD = self.mix(torch.cat([x_BPD, *means_BPD, profile_BPD, scenario_BPD, recency_BPD], -1))
        user_BPD = user_BPD + x_BPD + sum(share * mean for share, mean in zip(self.mean_share, means_BPD, strict=True))
        if self.adapter is not None:
            user_BPD = self.adapter(user_BPD, scenario_BPD)
        return F.normalize(self.norm(user_BPD), dim=-1)

    def _decayed_mean(self, item_BLD: Tensor, visible_BL: Tensor, decay: float, at_B: Tensor | None) -> Tensor:
        """[B, L + 1, D]: row p is the mean of the first p items, each weighing `decay` times the next newer one. With at_B: [B, 1, D]."""
        L = item_BLD.shape[1]
        steps = torch.arange(L + 1, device=item_BLD.device)
        back_PL = steps[:, None] - 1 - steps[None, :L]
        weight_PL = torch.where(back_PL >= 0, decay ** back_PL.clamp(min=0), 0.0).to(item_BLD.dtype)
        weight_PL = weight_PL / weight_PL.sum(-1, keepdim=True).clamp(min=1e-6)
        weights = weight_PL if at_B is None else weight_PL[at_B][:, None]
        return torch.matmul(weights, item_BLD * visible_BL[..., None])
