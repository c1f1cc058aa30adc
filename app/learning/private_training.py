"""Training of the user tower by DP-SGD with the user as the record (Abadi et al. 2016, McMahan et al. 2018), over item vectors that stand
still and know nothing of users.

    catalogue ── item tower as initialised, texts and features alone ──► item vectors, which stay
    users ── drawn one by one (Poisson) ──► loss of each ──► gradient of each, clipped ──► sum + Gaussian noise ──► Adam

Everything behind the noise is post-processing: Adam and the mean of the last steps cost nothing. No score of users chooses the weights,
so there is no early stopping.

Shapes: B users of a step, P predictions of a user, N items, M of them that a step is told apart from, D dim, W trained weights.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from app.learning.dataset import Interactions
from app.learning.inputs import Inputs
from app.learning.private_budget import Budget, budget_for
from app.learning.private_records import LENGTH, RecordReader, Records
from app.learning.training import centre
from app.learning.training_config import TrainingConfig
from app.model.runner import TowerRunner
from app.model.towers import Towers
from app.types import Float32Array, Int64Array, Json, Progress

CLIPPING_NORM = 1.0
LEARNING_RATE = 1e-2
AVERAGED = 0.5  # share of the steps, the last ones, whose weights are averaged: the noise of single steps cancels
SAMPLED_ITEMS = 512  # of a larger catalogue, drawn anew for every step
LOGITS_AT_ONCE = 4_000_000  # bounds the memory of the gradients of single users
MAX_USERS_AT_ONCE = 32
COVERS = "the weights of the user tower; the item tower is as initialised and reads texts and features of the catalogue alone"
NOT_COVERED = "every other source, item counts and priors, fusion, ranker, calibration, metrics, and the histories that slates are made for"
TAKEN_AS_PUBLIC = "catalogue, names of scenarios, number of users, instants of the cuts between past and future"


@dataclass(frozen=True, slots=True)
class Spent:
    """What the manifest says of a private training."""

    asked: float
    budget: Budget
    users: int
    seconds: float

    @property
    def epochs(self) -> int:
        """Expected passes over the users."""
        return round(self.budget.sample_rate * self.budget.steps)

    def as_json(self) -> dict[str, Json]:
        return {
            **asdict(self.budget),
            "asked_epsilon": self.asked,
            "clipping_norm": CLIPPING_NORM,
            "users": self.users,
            "record": "all events and the profile of one user; adding or removing one",
            "accountant": "rdp",
            "covers": COVERS,
            "not_covered": NOT_COVERED,
            "taken_as_public": TAKEN_AS_PUBLIC,
            "seconds": round(self.seconds, 1),
        }


class UserLoss(nn.Module):
    """Mean cross-entropy of one user's next items. Only the user tower is a part of it; item vectors and temperature are given."""

    def __init__(self, towers: Towers, scenario_text_ST: Tensor) -> None:
        super().__init__()
        self.user = towers.user
        self._temperature, self._text_ST = float(towers.temperature.detach()), scenario_text_ST

    def forward(self, item_ND: Tensor, sample_M: Tensor, *columns: Tensor) -> Tensor:
        """columns: those of `Records` for one user. sample_M: items told apart from the target; all of them, or drawn without a look at anybody."""
        record = Records(*columns)
        scenario_SD = self.user.scenario(record.known_BS, self._text_ST)
        user_1PD = self.user(
            item_ND[record.history_BL][None], record.kind_BL[None], record.gap_BL[None], record.visible_BL[None],
            record.recency_BP[None], record.profile_BT[None], scenario_SD[record.scenario_BP][None],
        )  # fmt: skip
        user_PD = user_1PD[0] / self._temperature
        wanted_P = (user_PD * item_ND[record.target_BP]).sum(-1)
        others_PM = user_PD @ item_ND[sample_M].T + math.log(len(item_ND) / len(sample_M))
        others_PM = others_PM.masked_fill(sample_M == record.target_BP[:, None], -math.inf)
        loss_P = torch.logsumexp(torch.cat([wanted_P[:, None], others_PM], -1), -1) - wanted_P
        loss: Tensor = (loss_P * record.weight_BP).sum() / record.weight_BP.sum().clamp(min=1e-6)
        return loss


class PrivateGradients:
    """The sum of the clipped gradients of a step's users."""

    def __init__(self, loss: UserLoss, item_ND: Tensor) -> None:
        self._loss, self._item_ND = loss, item_ND
        self.trained: dict[str, Tensor] = {name: value.detach().clone() for name, value in loss.named_parameters()}
        self._each: Callable[..., tuple[dict[str, Tensor], Tensor]] = vmap(
            grad_and_value(self._of_one), in_dims=(None, None, *[0] * len(Records.__dataclass_fields__))
        )

    def _of_one(self, weights: Mapping[str, Tensor], sample_M: Tensor, *columns: Tensor) -> Tensor:
        loss: Tensor = functional_call(self._loss, dict(weights), (self._item_ND, sample_M, *columns))
        return loss

    def clipped(self, records: Records, sample_M: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients [B, W], of a norm of at most CLIPPING_NORM each, and losses [B]."""
        gradients, loss_B = self._each(self.trained, sample_M, *records.columns())
        flat_BW = torch.cat([gradients[name].flatten(1) for name in self.trained], 1)
        norm_B1 = flat_BW.norm(dim=1, keepdim=True)
        flat_BW = flat_BW * (CLIPPING_NORM / norm_B1.clamp(min=CLIPPING_NORM))
        return torch.where(norm_B1.isfinite(), flat_BW, 0.0), loss_B

    @property
    def num_weights(self) -> int:
        return sum(value.numel() for value in self.trained.values())

    def sample(self, rng: np.random.Generator) -> Tensor:
        """Items [M] that the targets of a step are told apart from: SAMPLED_ITEMS of them."""
        N = len(self._item_ND)
        if N <= SAMPLED_ITEMS:
            return torch.arange(N)
        return torch.from_numpy(rng.choice(N, SAMPLED_ITEMS, replace=False))

    def named(self, flat_W: Tensor) -> dict[str, Tensor]:
        """The weights by name again."""
        pieces = torch.split(flat_W, [value.numel() for value in self.trained.values()])
        return {name: piece.view_as(value) for piece, (name, value) in zip(pieces, self.trained.items(), strict=True)}


def train_privately(
    data: Interactions, inputs: Inputs, towers: Towers, config: TrainingConfig, progress: Progress
) -> Spent:
    """Trains towers.user in place, once; each call spends the ε of config.dp_epsilon anew.

    Raises BadSettings without opacus or with too few users, Cancelled through `progress`; then nothing is kept.
    """
    started = time.monotonic()
    data = data.collapsed
    centre(towers, inputs)
    towers.eval()
    reader = RecordReader(data, inputs, towers.config, config)
    budget = budget_for(config.dp_epsilon, len(reader.users), config.epochs)
    item_ND = torch.from_numpy(still_vectors(towers, inputs))
    gradients = PrivateGradients(UserLoss(towers, torch.from_numpy(inputs.scenario_text_ST)), item_ND)
    flat_W = nn.Parameter(torch.cat([value.flatten() for value in gradients.trained.values()]))
    optimiser = torch.optim.Adam([flat_W], lr=LEARNING_RATE)
    expected, deviation = budget.sample_rate * len(reader.users), CLIPPING_NORM * budget.noise_multiplier
    mean_W, num_averaged = torch.zeros_like(flat_W.data), 0
    rng = np.random.default_rng()  # of windows and negatives, which hide nobody
    for step in range(budget.steps):
        drawn = reader.users[secret_uniform(len(reader.users)) < budget.sample_rate]
        total_W = _sum_of_clipped(drawn, reader, gradients, rng)
        flat_W.grad = (total_W + deviation * secret_normal(len(flat_W))) / expected
        optimiser.step()
        gradients.trained = gradients.named(flat_W.data)
        if step >= (1.0 - AVERAGED) * budget.steps:
            num_averaged += 1
            mean_W += (flat_W.data - mean_W) / num_averaged
        progress("train towers", (step + 1) / budget.steps)
    with torch.no_grad():
        for name, weight in gradients.named(mean_W).items():
            towers.get_parameter(name).copy_(weight)
    spent = Spent(config.dp_epsilon, budget, len(reader.users), time.monotonic() - started)
    progress("train towers", 1.0, _line(spent))
    return spent


def still_vectors(towers: Towers, inputs: Inputs) -> Float32Array:
    """[N, D] of the whole catalogue, every item as a new one: nothing that anybody did is read."""
    nothing_N = np.zeros(len(inputs.text_NT), np.int64)
    return TowerRunner(towers).item_vectors(nothing_N, inputs.text_NT, nothing_N, inputs.features)


def secret_uniform(num: int) -> NDArray[np.float64]:
    """float64 [num] inside (0, 1), of the operating system's randomness: noise that can be drawn again from a seed hides nothing."""
    bits = np.frombuffer(os.urandom(8 * num), np.uint64) >> np.uint64(12)
    return np.asarray((bits + 0.5) * 2.0**-52, np.float64)


def secret_normal(num: int) -> Tensor:
    """float32 [num], standard normal."""
    return torch.from_numpy(ndtri(secret_uniform(num)).astype(np.float32))


def _sum_of_clipped(
    users: Int64Array, reader: RecordReader, gradients: PrivateGradients, rng: np.random.Generator
) -> Tensor:
    """[W]; a few users at a time, those of like length together."""
    total_W = torch.zeros(gradients.num_weights)
    sample_M = gradients.sample(rng)
    users = users[np.argsort(np.diff(reader.data.starts_U1)[users], kind="stable")]
    logits = len(sample_M) * LENGTH
    num = max(1, min(MAX_USERS_AT_ONCE, LOGITS_AT_ONCE // logits))
    for start in range(0, len(users), num):
        clipped_BW, _ = gradients.clipped(reader.read(users[start : start + num], rng), sample_M)
        total_W += clipped_BW.sum(0)
    return total_W


def _line(spent: Spent) -> str:
    budget = spent.budget
    return (
        f"differentially private for users: epsilon {budget.epsilon:.2f} at delta {budget.delta:.1e} (noise {budget.noise_multiplier:.2f}, "
        f"clipping norm {CLIPPING_NORM:g}, {budget.steps} steps, each with {budget.sample_rate:.1%} of {spent.users} users). Covered: {COVERS}. "
        f"Not covered: {NOT_COVERED}. Every retraining spends it anew"
    )
