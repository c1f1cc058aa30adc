"""The order of the candidates before the slate's rules: every candidate gets one score, higher is better.

Shapes: C candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.retrieval.candidates import Candidates
from app.serving.live import LiveModel
from app.serving.rules import Asked
from app.types import Float32Array


@dataclass(frozen=True, slots=True)
class Ranking:
    """candidates: as retrieved. scores_C: finite, of the same places, in any order. method: what made the scores, for the diagnostics."""

    candidates: Candidates
    scores_C: Float32Array
    method: str = "fusion"


def rank(asked: Asked, model: LiveModel, candidates: Candidates) -> Ranking:
    """By the fused score."""
    scores_C = np.nan_to_num(candidates.scores_C, nan=0.0, posinf=1.0, neginf=0.0)
    return Ranking(candidates, scores_C.astype(np.float32))
