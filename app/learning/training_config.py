"""Settings of one training of the towers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from app.learning.loss import LOGQ_ALPHA

Loss = Literal["auto", "full", "sampled", "in_batch", "bce"]


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """loss "auto": full softmax up to FULL_SOFTMAX_BELOW items, sampled above; the others are for ablations."""

    epochs: int = 0  # 0: by size
    patience: int = 4
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    seed: int = 0
    predict_repeats: bool = False  # is an item the user already had worth predicting?
    loss: Loss = "auto"
    logq_alpha: float = LOGQ_ALPHA
    hard_negatives: int = 0  # of the sampled loss: for so many of a batch's targets, the item nearest to each
    user_text_weight: float = 0.0  # of the auxiliary losses, see `auxiliary`
    scenario_text_weight: float = 0.0
    query_text_weight: float = 0.0
    dp_epsilon: float = 0.0  # user-level, see `private_training`; 0: trained without noise
