"""The ranker: from the features of a candidate to the chances of a click, a cart addition and a purchase.

Progressive layered extraction (Tang et al. 2020) with one level: experts shared by all tasks and experts of one task, mixed by a gate
that reads the scenario's words and the task. Heads in the form of the entire-space model (Ma et al. 2018): p_cart = p_click ·
p(cart | click), p_buy = p_click · p(buy | click). The place in the list is an input of training alone (Zhao et al. 2019): it
moves the click's logit and is left out at serving.

Shapes: X rows, F features, G scenario vector, H heads, E experts of a task, W width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from app.types import Float32Array

HEADS = ("click", "cart_add", "purchase")
NUM_HEADS = len(HEADS)
MAX_POSITION = 24  # deeper places count as this one; 0: not shown, nothing is known of a place
CLIP = 5.0  # standard deviations that a feature may stand from its mean


@dataclass(frozen=True, slots=True)
class RankerConfig:
    features: int
    text_dim: int  # of the scenarios' descriptions
    shared_experts: int = 3
    own_experts: int = 1
    width: int = 16
    tower: int = 12
    scenario_dim: int = 8
    dropout: float = 0.1


class RankerNet(nn.Module):
    mean: Tensor
    scale: Tensor

    def __init__(self, config: RankerConfig, mean_F: Float32Array, scale_F: Float32Array) -> None:
        """mean_F, scale_F: of the features as they come; NaN there becomes the mean."""
        super().__init__()
        self.config = config
        E, W = config.shared_experts + NUM_HEADS * config.own_experts, config.width
        of_task = config.shared_experts + config.own_experts
        self.register_buffer("mean", torch.from_numpy(mean_F))
        self.register_buffer("scale", torch.from_numpy(scale_F))
        self.experts = nn.Linear(config.features, E * W)
        self.scenario = nn.Linear(config.text_dim, config.scenario_dim, bias=False)
        self.gate = nn.Linear(config.scenario_dim, NUM_HEADS * of_task)
        self.tower = nn.Parameter(torch.randn(NUM_HEADS, W, config.tower) / W**0.5)
        self.tower_bias = nn.Parameter(torch.zeros(NUM_HEADS, config.tower))
        self.out = nn.Parameter(torch.zeros(NUM_HEADS, config.tower))  # starts as the wide part alone
        self.wide = nn.Linear(config.features, NUM_HEADS)
        self.position = nn.Embedding(MAX_POSITION + 1, 1)
        self.sharpness = nn.Parameter(
            torch.ones(NUM_HEADS)
        )  # log of what scores are multiplied by in a listwise loss alone
        self.dropout = nn.Dropout(config.dropout)
        nn.init.zeros_(self.wide.weight)
        nn.init.zeros_(self.wide.bias)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)
        nn.init.zeros_(self.position.weight)

    def forward(self, features_XF: Tensor, scenario_XG: Tensor, position_X: Tensor) -> Tensor:
        """Logits [X, H] of p_click, p(cart | click), p(buy | click). scenario_XG: encoded descriptions, zero for the whole shop."""
        x_XF = self.normalised(features_XF)
        config = self.config
        hidden_XEW = F.relu(self.experts(x_XF)).view(len(x_XF), -1, config.width)
        hidden_XEW = self.dropout(hidden_XEW)
        gates_XHE = self.gates(scenario_XG)
        shared, own = config.shared_experts, config.own_experts
        logits = []
        for head in range(NUM_HEADS):
            mine = slice(shared + head * own, shared + (head + 1) * own)
            experts_XEW = torch.cat([hidden_XEW[:, :shared], hidden_XEW[:, mine]], 1)
            mixed_XW = (experts_XEW * gates_XHE[:, head, :, None]).sum(1)
            tower_XT = F.relu(mixed_XW @ self.tower[head] + self.tower_bias[head])
            logits.append(tower_XT @ self.out[head])
        out_XH = torch.stack(logits, 1) + self.wide(x_XF)
        place_X1 = self.position(position_X) * (position_X > 0)[:, None]
        return torch.cat([out_XH[:, :1] + place_X1, out_XH[:, 1:]], 1)

    def normalised(self, features_XF: Tensor) -> Tensor:
        x_XF = ((features_XF - self.mean) * self.scale).clamp(-CLIP, CLIP)
        return torch.where(torch.isnan(x_XF), 0.0, x_XF)

    def gates(self, scenario_SG: Tensor) -> Tensor:
        """[S, H, E], rows of E sum to 1."""
        of_task = self.config.shared_experts + self.config.own_experts
        gates_SHE: Tensor = self.gate(torch.tanh(self.scenario(scenario_SG))).view(-1, NUM_HEADS, of_task).softmax(-1)
        return gates_SHE

    @torch.no_grad()
    def settle_at_first_place(self) -> None:
        """From now on a row without a place is judged as if it stood at the first one, which is what serving asks for. What a placed row
        gets stays the same."""
        first = self.position.weight[1].clone()
        self.wide.bias[0] += first[0]
        self.position.weight[1:] -= first

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """What `RankerRunner` reads."""
        held = {name: value.detach().cpu().numpy().astype(np.float32) for name, value in self.state_dict().items()}
        return {name.replace(".", "_"): np.ascontiguousarray(value) for name, value in held.items()}

    def load_arrays(self, arrays: dict[str, NDArray[np.float32]]) -> None:
        """The opposite of `arrays`."""
        self.load_state_dict(
            {name: torch.from_numpy(np.array(arrays[name.replace(".", "_")])) for name in self.state_dict()}
        )


def log_chances(logits_XH: Tensor) -> Tensor:
    """Log of p_click, p_cart, p_buy [X, H], from `RankerNet`'s logits."""
    log_XH = F.logsigmoid(logits_XH)
    return torch.cat([log_XH[:, :1], log_XH[:, :1] + log_XH[:, 1:]], 1)
