"""The same list for everyone: counts of events, of all time or decayed with a half-life."""

from __future__ import annotations

import numpy as np

from app.learning.dataset import Interactions
from app.learning.evaluation.peers.peer import Params, Scorer, Trials
from app.learning.popularity import popularity
from app.learning.splits import Repeats
from app.types import Progress, no_progress

HALF_LIVES_DAYS = (None, 90.0, 30.0, 14.0, 7.0, 3.0, 1.0)  # None: all events weigh the same


class Popularity:
    name = "popularity"
    is_stochastic = False
    is_personal = False

    def search(self, trials: Trials) -> None:
        for half_life in HALF_LIVES_DAYS:
            params: Params = {"half_life_days": half_life}
            trials.record(params, self.fit(trials.train, params, trials.repeats, trials.seed, no_progress))

    def fit(self, train: Interactions, params: Params, repeats: Repeats, seed: int, progress: Progress) -> Scorer:
        half_life = params["half_life_days"]
        shop_N = popularity(train, float("inf") if half_life is None else half_life)[0]
        return lambda users: np.tile(shop_N, (len(users), 1))
