"""What a peer is: a family of models that is tuned on a validation cut, fitted with what tuning chose, and ranks the catalogue.

A peer knows events and nothing else: no words, no scenarios. It learns from target events (see `Interactions.is_target_E`); a
user's history holds all events.

Shapes: B users of a batch, U users, K list length, N items.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from app.learning.dataset import Interactions
from app.learning.popularity import popularity
from app.learning.splits import Repeats, Split
from app.retrieval.index import best
from app.types import Float32Array, Int64Array, Progress

BATCH = 512

Params = Mapping[str, float | int | None]
Scorer = Callable[[Int64Array], Float32Array]
"""Rows of users [B] -> a score of every item [B, N]."""


class Skipped(Exception):
    """A family cannot be run on data of this shape; the message says why, for the report."""


class Trials(Protocol):
    """Where a family's search takes its configurations; see `tuning.Tuning`."""

    @property
    def train(self) -> Interactions: ...
    @property
    def repeats(self) -> Repeats: ...
    @property
    def seed(self) -> int: ...
    @property
    def progress(self) -> Progress: ...

    def has_time(self) -> bool:
        """False when the budget is spent: try nothing more."""

    def score(self, scorer: Scorer) -> float:
        """NDCG@10 on the validation users."""

    def record(self, params: Params, scorer: Scorer) -> float:
        """The same, and the configuration counts as tried."""

    def note(self, params: Params, score: float) -> float:
        """A configuration that the family has judged by itself with `score` counts as tried."""


class Family(Protocol):
    """Models that differ in their parameters only. is_stochastic: another seed gives another model.

    is_personal: its scores mean nothing for a user without events, who gets the popularity list instead.
    """

    name: str
    is_stochastic: bool
    is_personal: bool

    def search(self, trials: Trials) -> None:
        """Record configurations fitted on `trials.train` while there is time. Raises Skipped, Cancelled."""

    def fit(self, train: Interactions, params: Params, repeats: Repeats, seed: int, progress: Progress) -> Scorer:
        """The model of all of `train`. Raises Skipped, Cancelled."""


@dataclass(frozen=True)
class Peer:
    """defaults: parameters where nothing is tuned. accepts: which configurations of the family go by this name."""

    name: str
    family: Family
    defaults: Params
    accepts: Callable[[Params], bool] = lambda params: True


def rank(scorer: Scorer, split: Split, num: int, repeats: Repeats, is_personal: bool = True) -> Int64Array:
    """Rows int64 [U, num] for `split.users`, best first, -1 where the list is shorter.

    is_personal: see `Family`. Only items with training events are candidates; repeats "exclude" takes those of the user's past away.
    """
    train = split.train
    unknown_N = np.bincount(train.item_E, minlength=len(train.item_ids)) == 0
    crowd_N = popularity(train, float("inf"))[0]
    has_past_U = np.diff(train.starts_U1) > 0
    topk_UK = np.full((len(split.users), num), -1, np.int64)
    for start in range(0, len(split.users), BATCH):
        users = split.users[start : start + BATCH]
        scores_BN = np.array(scorer(users), np.float32)
        if is_personal:
            scores_BN[~has_past_U[users]] = crowd_N
        scores_BN[:, unknown_N] = -np.inf
        if repeats == "exclude":
            for b, user in enumerate(users.tolist()):
                scores_BN[b, train.item_E[train.of(user)]] = -np.inf
        rows = best(scores_BN, num)[0]
        topk_UK[start : start + len(users), : rows.shape[1]] = rows
    return topk_UK
