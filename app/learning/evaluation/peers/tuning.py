"""Tuning of peers on the validation cut inside the training part, with a budget that the report states."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from app.learning.dataset import Interactions
from app.learning.evaluation.metrics import per_user
from app.learning.evaluation.peers.peer import Family, Params, Peer, Scorer, rank
from app.learning.splits import Repeats, Split
from app.types import Json, Progress


@dataclass(frozen=True, slots=True)
class Trial:
    params: Params
    score: float  # NDCG@10 on the validation users


@dataclass
class Tuning:
    """One family's search. inner: the cut inside the training part. limit_seconds: no new configuration is begun after it."""

    inner: Split
    repeats: Repeats
    seed: int
    limit_seconds: float
    progress: Progress
    trials: list[Trial] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    @property
    def train(self) -> Interactions:
        return self.inner.train

    def has_time(self) -> bool:
        return self.seconds < self.limit_seconds

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def score(self, scorer: Scorer) -> float:
        topk_UK = rank(scorer, self.inner, 10, self.repeats)
        return float(per_user(topk_UK, self.inner.targets)["ndcg@10"].mean())

    def record(self, params: Params, scorer: Scorer) -> float:
        return self.note(params, self.score(scorer))

    def note(self, params: Params, score: float) -> float:
        self.trials.append(Trial(params, score))
        self.progress("peers", min(1.0, self.seconds / max(self.limit_seconds, 1e-9)))
        return score


@dataclass(frozen=True)
class Tuned:
    """What a peer runs with, and what it took to find."""

    params: Params
    validation: float | None
    tried: int
    seconds: float
    limit_seconds: float

    def as_json(self) -> dict[str, Json]:
        return {
            "parameters": dict(self.params),
            "validation_ndcg@10": self.validation,
            "configurations_tried": self.tried,
            "tuning_seconds": round(self.seconds, 1),
            "tuning_seconds_at_most": self.limit_seconds,
        }


def tune_family(
    family: Family,
    peers: Sequence[Peer],
    inner: Split,
    repeats: Repeats,
    seed: int,
    limit_seconds: float,
    progress: Progress,
) -> dict[str, Tuned]:
    """The best configuration that each of the family's peers accepts. Raises Skipped.

    Without validation users a peer keeps its defaults.
    """
    tuning = Tuning(inner, repeats, seed, limit_seconds, progress)
    if len(inner.users):
        family.search(tuning)
    return {peer.name: _chosen(peer, tuning) for peer in peers}


def _chosen(peer: Peer, tuning: Tuning) -> Tuned:
    trials = [trial for trial in tuning.trials if peer.accepts(trial.params)]
    best = max(trials, key=lambda trial: trial.score, default=None)
    seconds, limit = tuning.seconds, tuning.limit_seconds
    if best is None:
        return Tuned(peer.defaults, None, 0, seconds, limit)
    return Tuned(best.params, best.score, len(trials), seconds, limit)
