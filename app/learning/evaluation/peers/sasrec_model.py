"""The network of SASRec: ids, learned positions, causal attention, dot product. Source: Kang & McAuley 2018.

It knows no text, no time and no kind of event: that is what it is compared for.

Shapes: B sequences, L length, D dim, N items, H heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

INIT_STD = 0.02


class SasRec(nn.Module):
    def __init__(self, num_items: int, length: int, dim: int, blocks: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.length = length
        self.item = nn.Embedding(num_items, dim)
        self.position = nn.Embedding(length, dim)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(dim, heads, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(dim)
        for table in (self.item, self.position):
            nn.init.normal_(table.weight, std=INIT_STD)

    def forward(self, item_BL: Tensor, size_B: Tensor) -> Tensor:
        """What comes after each place, [B, L, D]; to be multiplied with `item.weight`.

        item_BL: oldest first, anything behind the first size_B. Places are counted from the end, so that the newest event
        always stands at the same position.
        """
        place_BL = self.length - size_B[:, None] + torch.arange(item_BL.shape[1])
        x_BLD = self.item(item_BL) * self.item.embedding_dim**0.5 + self.position(place_BL.clamp(max=self.length - 1))
        x_BLD = self.dropout(x_BLD)
        for block in self.blocks:
            x_BLD = block(x_BLD)
        out: Tensor = self.norm(x_BLD)
        return out


class Block(nn.Module):
    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.p = heads, dropout
        self.norm_in, self.norm_out = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.mix = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.feed = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Dropout(dropout), nn.Linear(dim, dim))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BLD: Tensor) -> Tensor:
        B, L, D = x_BLD.shape
        q, k, v = self.qkv(self.norm_in(x_BLD)).view(B, L, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        seen_BHLD = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=self.p if self.training else 0.0)
        x_BLD = x_BLD + self.dropout(self.mix(seen_BHLD.transpose(1, 2).reshape(B, L, D)))
        out: Tensor = x_BLD + self.dropout(self.feed(self.norm_out(x_BLD)))
        return out
