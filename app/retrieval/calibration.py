"""From a fused score to the chance that the item is wanted: a rising curve through points fitted on validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.types import Float32Array


@dataclass(frozen=True, slots=True)
class Calibration:
    """scores: rising. chances: 0-1, of a hit at each of them; straight lines between, flat outside. Empty: nothing is known."""

    scores: Sequence[float] = ()
    chances: Sequence[float] = ()

    def chance(self, scores: Float32Array) -> NDArray[np.float64]:
        """NaN everywhere when nothing is known; of any shape."""
        if not self.scores:
            return np.full(np.shape(scores), np.nan)
        return np.interp(scores, self.scores, self.chances)
