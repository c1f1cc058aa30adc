"""The ranker: from the features of a candidate to the chances of a click, a cart addition and a purchase.

Progressive layered extraction (Tang et al. 2020) with one level: experts shared by all tasks and experts of one task, mixed by a gate
that reads the scenario's words and the task. Heads in the form of the entire-space model (Ma et al. 2018): p_cart = p_click ·
p(cart | click), p_buy = p_click · p(buy | click). The place in the list is an input of training alone (Zhao et al. 2019): it
moves the click's logit and is left out at serving. Purchases are few, so their head does not start from nothing: it leans on the
click's logit, and its own part says where it differs.

Shapes: B cases, K candidates of each, X rows, F features, G scenario vector, H heads, E experts, W their width, T a tower's width,
S scenarios.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from app.model.ranker_runner import CLIP, HEADS
from app.types import Float32Array

NUM_HEADS = len(HEADS)
MAX_POSITION = 24  # deeper places count as this one; 0: not shown, nothing is known of a place


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
        self.lean = nn.Parameter(
            torch.zeros(NUM_HEADS - 1)
        )  # what follows a click leans on its logit, without the place
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

    def forward(self, features_BKF: Tensor, scenario_BG: Tensor, position_BK: Tensor) -> Tensor:
        """Logits [B, K, H] of p_click, p(cart | click), p(buy | click). scenario_BG: encoded descriptions, one for the K rows of a
        case, zero for the whole shop.

        A gate is the same for all rows of a case and the tower behind it is linear up to its bias, so both are one matrix of the case."""
        config, (B, K, _) = self.config, features_BKF.shape
        x_BKF = self.normalised(features_BKF)
        hidden_BKV = F.relu(self.experts(x_BKF))  # V: experts times their width
        mixed_BEWHT = torch.einsum("bhe,hwt->bewht", self.all_gates(scenario_BG), self.tower)
        mixed_BVO = mixed_BEWHT.reshape(B, hidden_BKV.shape[2], -1)
        if (
            self.training
        ):  # a unit is gone for the whole case: its rows are compared by the same net, and few draws are needed
            mixed_BVO = mixed_BVO * self.dropout(torch.ones(B, hidden_BKV.shape[2], 1))
        towers_BKO = torch.bmm(hidden_BKV, mixed_BVO)
        towers_BKHT = F.relu(towers_BKO.view(B, K, NUM_HEADS, config.tower) + self.tower_bias)
        out_BKH = (towers_BKHT * self.out).sum(-1) + self.wide(x_BKF)
        click_BK1, place_BK1 = out_BKH[..., :1], self.position(position_BK) * (position_BK > 0)[..., None]
        return torch.cat([click_BK1 + place_BK1, out_BKH[..., 1:] + self.lean * click_BK1.detach()], -1)

    def normalised(self, features_BKF: Tensor) -> Tensor:
        """NaN, which clamping lets through, becomes the mean."""
        return ((features_BKF - self.mean) * self.scale).clamp_(-CLIP, CLIP).nan_to_num_(0.0)

    def all_gates(self, scenario_SG: Tensor) -> Tensor:
        """[S, H, all experts]: zero for the experts of other tasks."""
        shared, own = self.config.shared_experts, self.config.own_experts
        gates_SHE = self.gates(scenario_SG)
        own_SHE = [F.pad(gates_SHE[:, h, shared:], (h * own, (NUM_HEADS - 1 - h) * own)) for h in range(NUM_HEADS)]
        return torch.cat([gates_SHE[..., :shared], torch.stack(own_SHE, 1)], -1)

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
        self.wide.bias[1:] -= self.lean * first[0]
        self.position.weight[1:] -= first

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """What `RankerRunner` reads."""
        held = {name: value.detach().cpu().numpy().astype(np.float32) for name, value in self.state_dict().items()}
        return {name.replace(".", "_"): np.ascontiguousarray(value) for name, value in held.items()}


def log_chances(logits_XH: Tensor) -> Tensor:
    """Log of p_click, p_cart, p_buy […, H], from `RankerNet`'s logits."""
    log_XH = F.logsigmoid(logits_XH)
    return torch.cat([log_XH[..., :1], log_XH[..., :1] + log_XH[..., 1:]], -1)
