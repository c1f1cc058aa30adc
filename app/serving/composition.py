"""From ranked candidates to the places of a slate."""

from __future__ import annotations

import numpy as np

from app.serving.fallback import Pick
from app.serving.ranking import Ranking


def compose(ranking: Ranking, num: int) -> list[Pick]:
    """The num best, best first."""
    found = ranking.candidates
    order = np.argsort(-ranking.scores_C, kind="stable")[:num]
    return [
        Pick(int(found.rows_C[place]), float(ranking.scores_C[place]), tuple(found.sources_of(place)))
        for place in order.tolist()
    ]
