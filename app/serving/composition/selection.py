"""Which candidates stand, in which order: the best, or a greedy trade of relevance against difference and the shopper's own mix.

Shapes: C candidates, K places.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from app.retrieval.likeness import likeness_vectors
from app.serving.composition.calibration import mix_of
from app.serving.composition.caps import RULE as CAPS
from app.serving.composition.caps import OpenUnderCaps, limits_of
from app.serving.composition.diversity import Spread
from app.serving.composition.rotation import num_spare
from app.serving.draft import Draft, Pool
from app.types import Float32Array


class Term(Protocol):
    """A part of the slate's worth that depends on what already stands."""

    def gain_C(self) -> Float32Array: ...

    def take(self, candidate: int) -> None: ...


def select(draft: Draft) -> None:
    """The open places and, where the scenario rotates, the reserve behind them."""
    pool, scenario = draft.pool, draft.asked.scenario
    if pool is None or not len(pool):
        return
    wanted = min(draft.num_open + num_spare(draft), len(pool))
    terms, weight = _terms(draft, pool, wanted)
    under = None
    if limits_of(scenario.caps):
        pinned = [pick.row for pick in draft.pins.values()]
        under = OpenUnderCaps(scenario.caps, draft.live.catalogue, pool.rows_C, pinned)
    chosen = list(range(wanted))
    if terms or under is not None:
        chosen = choose(weight * relevance(pool.scores_C), wanted, [*terms.values()], under)
        _report(draft, chosen, terms, under)
    draft.picks = pool.picks(chosen)


def _terms(draft: Draft, pool: Pool, num: int) -> tuple[dict[str, Term], np.float32]:
    """What stands against relevance, and the weight of relevance. A scenario without any of it pays for none."""
    scenario, model = draft.asked.scenario, draft.live.model
    diversity = scenario.diversity if draft.asked.request.diversity is None else draft.asked.request.diversity
    terms: dict[str, Term] = {}
    calibration = 0.0
    if scenario.calibration > 0 and (mix := mix_of(draft, scenario.calibration)) is not None:
        terms["calibration"], calibration = mix, scenario.calibration
    if diversity > 0 and model is not None:
        vectors_CV = likeness_vectors(model.snapshot, model.space, pool.rows_C)
        terms["diversity"] = Spread(vectors_CV, num, diversity * (1 - calibration))
    return terms, np.float32((1 - diversity) * (1 - calibration))


def choose(worth_C: Float32Array, num: int, terms: Sequence[Term], under: OpenUnderCaps | None = None) -> list[int]:
    """Greedy: each place goes to the candidate with the greatest worth plus what the terms give for it; one whose gain is no number is
    left out. Fewer than num under caps."""
    open_C = np.ones(len(worth_C), np.bool_)
    chosen: list[int] = []
    for _ in range(num):
        gain_C = worth_C.copy()
        for term in terms:
            gain_C += term.gain_C()
        gain_C[~open_C | np.isnan(gain_C)] = -np.inf
        if under is not None:
            gain_C[~under.open_C] = -np.inf
        best = int(gain_C.argmax())
        if gain_C[best] == -np.inf:
            break
        chosen.append(best)
        open_C[best] = False
        for part in (*terms, under):
            if part is not None:
                part.take(best)
    return chosen


def relevance(scores_C: Float32Array) -> Float32Array:
    """Scores as 0-1 between the worst and the best candidate, so that a share of diversity means the same for every ranker."""
    low, high = np.float64(scores_C.min()), np.float64(scores_C.max())
    scaled_C: Float32Array = ((scores_C - low) / max(high - low, 1e-12)).astype(np.float32)
    return scaled_C


def _report(draft: Draft, chosen: Sequence[int], terms: Iterable[str], under: OpenUnderCaps | None) -> None:
    """The terms work as one sum, so they share one figure: who stands although others ranked above. Caps tell whom they held back."""
    assert draft.pool is not None
    num = min(draft.num_open, len(draft.pool))
    for rule in terms:
        draft.report(rule, draft.pool.rows_C[[c for c in chosen[:num] if c >= num]].tolist())
    if under is not None:
        held = set(np.flatnonzero(~under.open_C[:num]).tolist()) - set(chosen)
        draft.report(CAPS, draft.pool.rows_C[sorted(held)].tolist(), dropped=True)
