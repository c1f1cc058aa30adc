"""What a fit is told, and what its tuning chooses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from app.learning.checkpoint import Checkpoints
from app.learning.ranker_fit import RankerFit
from app.learning.sources import DEFAULTS, Parameters
from app.learning.splits import Protocol, Repeats
from app.learning.training_config import TrainingConfig
from app.retrieval.calibration import Calibration
from app.retrieval.fusion import Fusion
from app.retrieval.transfer import Transfer
from app.scenarios.scenario import Scenario
from app.types import Json


@dataclass(frozen=True, slots=True)
class FitConfig:
    """protocol, repeats: which kind of future the model is tuned for; the service's is temporal, repeats excluded.

    fusion_cases: what the fusion is fitted on: one slate per user at the cut, as the protocol judges, or the next event of a
    visit, as the service is asked (see `next_events`).
    """

    protocol: Protocol = "temporal"
    repeats: Repeats = "exclude"
    fusion_cases: Literal["split", "next_event"] = "split"
    training: TrainingConfig = field(default_factory=TrainingConfig)
    encoder_key: str = ""
    encoder_name: str = "default"
    mode: str = "full"
    catalogue_revision: int = 0
    towers: Mapping[str, object] = field(default_factory=dict)  # changes to TowerConfig
    guard: bool = True  # False: the adapter in every scenario, no item prior
    ranker: bool = True  # False: fusion orders
    scenarios: Mapping[str, Scenario] = field(default_factory=dict)  # as configured, for which sources they ask
    checkpoints: Checkpoints | None = None  # of the trainings; none: a stopped one starts from zero


@dataclass(frozen=True, slots=True)
class Choices:
    """What tuning chose on the validation cut. sources: candidate source -> its parameters."""

    epochs: int
    sources: Parameters = field(default_factory=lambda: DEFAULTS)
    fusion: Fusion = field(default_factory=Fusion)
    transfer: Transfer = field(default_factory=Transfer)
    report: Mapping[str, Json] = field(default_factory=dict)
    calibration: Calibration = field(default_factory=Calibration)
    ranker: RankerFit = field(default_factory=RankerFit)
    privacy: Mapping[str, Json] = field(default_factory=dict)  # see `private_training.Spent`; empty: trained as usual
