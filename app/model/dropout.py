"""Dropout by a byte of chance each number: torch draws one number after the other for a whole float, which took a quarter of a training step.

Source: Srivastava et al. 2014. Shapes: any.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

STEPS = 256  # shares that a byte can tell apart
LEAST = -(2**63)
BYTES = 8  # of one draw


class Dropout(nn.Module):
    """As `nn.Dropout`, with p rounded to 1/256; what is kept grows by exactly what is left out, so means stay. From torch's own generator."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.dropped = min(round(p * STEPS), STEPS - 1)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.dropped == 0:
            return x
        num = x.numel()
        draws = torch.empty(-(-num // BYTES), dtype=torch.int64, device=x.device).random_(LEAST, None)
        kept = (draws.view(torch.uint8)[:num] >= self.dropped).view(x.shape)
        return x * kept.to(x.dtype).mul_(STEPS / (STEPS - self.dropped))
