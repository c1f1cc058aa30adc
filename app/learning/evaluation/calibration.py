"""How well the predicted chance of a hit holds: expected calibration error over equal-mass bins, and the reliability curve."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.learning.evaluation.metrics import hits
from app.learning.splits import Split
from app.retrieval.calibration import Calibration
from app.types import Float32Array, Int64Array, Json

RANKS = 10
BINS = (10, 15)


def calibration_of(
    calibration: Calibration, topk_UK: Int64Array, scores_UK: Float32Array, judged: Split
) -> dict[str, Json] | None:
    """Of the judged users' ten; None where the model has no calibration (too little to validate on)."""
    if not calibration.scores:
        return None
    shown = topk_UK[:, :RANKS] >= 0
    chance = calibration.chance(scores_UK[:, :RANKS])[shown]
    hit = hits(topk_UK[:, :RANKS], judged.targets)[shown].astype(np.float64)
    result: dict[str, Json] = {
        "pairs": len(hit),
        "hit_rate": float(hit.mean()),
        "mean_chance": float(chance.mean()),
        "brier": float(((chance - hit) ** 2).mean()),
    }
    for num in BINS:
        result[f"ece@{num}_bins"] = expected_calibration_error(chance, hit, num)
    result["curve"] = [
        {"pairs": len(part), "chance": float(chance[part].mean()), "hit_rate": float(hit[part].mean())}
        for part in equal_mass_bins(chance, BINS[0])
    ]
    return result


def expected_calibration_error(chance: NDArray[np.float64], hit: NDArray[np.float64], num_bins: int) -> float:
    """Mean over bins, by their size, of |mean chance - hit rate|. Source: Naeini et al. 2015, with bins of equal mass."""
    parts = equal_mass_bins(chance, num_bins)
    return float(sum(abs(float((chance[part] - hit[part]).sum())) for part in parts)) / max(1, len(hit))


def equal_mass_bins(chance: NDArray[np.float64], num_bins: int) -> list[NDArray[np.intp]]:
    """Places of the pairs in each bin, lowest chances first."""
    return [part for part in np.array_split(np.argsort(chance, kind="stable"), num_bins) if len(part)]
