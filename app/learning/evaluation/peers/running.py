"""Peers from tuning to lists, one after the other, so that only one of them is in memory."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from app.learning.evaluation.peers import PEERS
from app.learning.evaluation.peers.peer import Peer, Skipped, rank
from app.learning.evaluation.peers.tuning import Tuned, tune_family
from app.learning.splits import Protocol, Repeats, Split, validation_cut
from app.types import Int64Array, Json, Progress


@dataclass(frozen=True, slots=True)
class PeerBudget:
    """repeats, seed: of the protocol. num_seeds: fits of a stochastic peer. num: length of the lists.

    tuning_seconds: no new configuration of a family is begun after them.
    """

    repeats: Repeats
    seed: int
    num_seeds: int
    num: int
    tuning_seconds: float


@dataclass(frozen=True)
class PeerLists:
    """everyone: rows [U, K] of all users asked for. by_seed: of the judged ones, for each further seed.

    skipped: why there are no lists at all.
    """

    name: str
    everyone: Int64Array
    by_seed: Sequence[Int64Array] = ()
    seconds: float = 0.0
    details: Mapping[str, Json] = field(default_factory=dict)
    skipped: str = ""


def run_peers(
    names: Sequence[str], everyone: Split, num_judged: int, protocol: Protocol, budget: PeerBudget, progress: Progress
) -> Iterator[PeerLists]:
    """Each peer tuned on a cut inside the training part, fitted on all of it, then asked for everyone's list.

    num_judged: that many users at the front of everyone are those whom further seeds are asked for.
    """
    inner = validation_cut(everyone.train, protocol, budget.repeats, budget.seed)
    judged = everyone.subset(np.arange(num_judged))
    peers = [PEERS[name] for name in names]
    families = {id(peer.family): peer.family for peer in peers}
    for key, family in families.items():
        mine = [peer for peer in peers if id(peer.family) == key]
        names_mine = ", ".join(peer.name for peer in mine)
        progress("peers", 0.0, f"{names_mine}: tuning, {len(inner.users)} validation users")
        try:
            tuned = tune_family(family, mine, inner, budget.repeats, budget.seed, budget.tuning_seconds, progress)
            for peer in mine:
                yield _run(peer, tuned[peer.name], everyone, judged, budget, progress)
        except Skipped as reason:
            progress("peers", 1.0, f"{names_mine}: left out, {reason}")
            yield from (PeerLists(peer.name, np.empty((0, budget.num), np.int64), skipped=str(reason)) for peer in mine)


def _run(peer: Peer, tuned: Tuned, everyone: Split, judged: Split, budget: PeerBudget, progress: Progress) -> PeerLists:
    started = time.monotonic()
    num_fits = budget.num_seeds if peer.family.is_stochastic else 1

    def lists(seed: int, asked: Split) -> Int64Array:
        scorer = peer.family.fit(everyone.train, tuned.params, budget.repeats, seed, progress)
        return rank(scorer, asked, budget.num, budget.repeats, peer.family.is_personal)

    topk_UK = lists(budget.seed, everyone)
    seconds = time.monotonic() - started
    by_seed = [lists(budget.seed + number, judged) for number in range(1, num_fits)]
    chosen = ", ".join(f"{name} {value}" for name, value in tuned.params.items())
    progress(
        "peers",
        1.0,
        f"{peer.name}: {chosen} ({tuned.tried} tried in {tuned.seconds:.0f} s); {seconds:.1f} s to fit and rank",
    )
    return PeerLists(peer.name, topk_UK, by_seed, seconds, tuned.as_json())
