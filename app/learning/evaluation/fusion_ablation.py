"""What the fusion and the ranker earn: one trained snapshot, its sources asked once, many slates made of the same lists.

    judged users ── sources ──► lists ──┬── as served: fused, ranked ──────────► judged ─┐
                                        ├── the ranker off ────────────────────► judged ─┤
                                        ├── each source left out, the others deeper ─────┼──► table, verdict
                                        ├── each source alone ─────────────────► judged ─┤
                                        └── fused by given weights ────────────► judged ─┘

Weights are not fitted again when a source is left out, so its row says what the served fusion loses without it.
Shapes: U users, K list length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from app.features.ranking import Shopper
from app.learning.dataset import Interactions
from app.learning.evaluation.bootstrap import Interval, intervals
from app.learning.evaluation.compare import MAIN_METRIC, Judged, difference, judge
from app.learning.evaluation.rank import WHOLE_SHOP, Ranker, asks_of
from app.learning.fit import fit
from app.learning.fit_config import FitConfig
from app.learning.inputs import Inputs
from app.learning.splits import Split
from app.retrieval.candidates import NUM_RANKED, Candidates, Ranked
from app.retrieval.fusion import UNFITTED
from app.retrieval.ranker import Unordered
from app.retrieval.snapshot import CANDIDATES_PER_SOURCE, Snapshot
from app.retrieval.sources import TwoTowerSource
from app.types import Int64Array, Json, Progress

LIST_LENGTH = 50
DEEPEST = 2 * CANDIDATES_PER_SOURCE  # what one of two sources proposes when it has the other's budget as well
SERVED, LEFT_OUT, ALONE, GIVEN = "as served", "source left out", "source alone", "given weights"
RANKER_OFF = "ranker off"
SHOWN = (MAIN_METRIC, "hr@10", "recall@50", "coverage@10")
Weights = Mapping[str, float]


@dataclass(frozen=True)
class Way:
    """Of making a slate. weights: from the learned ones to those fused by. ranks: let the ranker order, where validation chose it."""

    group: str
    variant: str
    weights: Callable[[Weights], Weights]
    ranks: bool = False


def ways(sources: tuple[str, ...]) -> list[Way]:
    """The first is what is served."""

    def without(left_out: str) -> Callable[[Weights], Weights]:
        return lambda learned: {name: weight for name, weight in learned.items() if name != left_out}

    def fixed(weights: Weights) -> Callable[[Weights], Weights]:
        return lambda _: weights

    unfitted = {name: UNFITTED[name] for name in sources if name in UNFITTED}
    return [
        Way(SERVED, SERVED, lambda learned: learned, ranks=True),
        Way(SERVED, RANKER_OFF, lambda learned: learned),
        *(Way(LEFT_OUT, name, without(name), ranks=True) for name in sources),
        *(Way(ALONE, name, fixed({name: 1.0})) for name in sources),
        Way(GIVEN, "all equal", fixed(dict.fromkeys(sources, 1.0))),
        Way(GIVEN, "before any fit", fixed(unfitted)),
    ]


def ablate_fusion(
    data: Interactions, inputs: Inputs, config: FitConfig, judged: Split, progress: Progress
) -> dict[str, Json]:
    """{"judged_users", "weights", "ordered_by", "rows", "best_source", "beats_best_source"}: as served, and every other way with its paired
    difference. "beats_best_source": the 95 % intervals of the served slate and of the best single source do not overlap. Which source is best
    is seen on the judged users themselves, in its favour."""
    snapshot = fit(judged.train, inputs, config, progress)
    return compare_ways(Ranker(snapshot, data, inputs), judged, config, progress)


def compare_ways(ranker: Ranker, judged: Split, config: FitConfig, progress: Progress) -> dict[str, Json]:
    """The report of `ablate_fusion` on a fitted snapshot."""
    snapshot, compared = ranker.snapshot, ways(ranker.snapshot.learnable)
    lists = [np.full((len(judged.users), LIST_LENGTH), -1, np.int64) for _ in compared]
    for done, (place, of_ways) in enumerate(_slates(ranker, judged, config, compared)):
        progress(
            "ablate", place / len(judged.users), "" if done else "the sources' lists are put together in every way"
        )
        for topk_UK, rows_K in zip(lists, of_ways, strict=True):
            topk_UK[place, : len(rows_K)] = rows_K
    progress("ablate", 1.0)
    found = [judge(topk_UK, judged, ranker.inputs.text_NT) for topk_UK in lists]
    served = found[0]
    rows = [_row(way, of, served) for way, of in zip(compared, found, strict=True)]
    alone = {way.variant: of for way, of in zip(compared, found, strict=True) if way.group == ALONE}
    best = max(alone, key=lambda name: alone[name].main)
    return {
        "protocol": config.protocol,
        "repeats": config.repeats,
        "judged_users": len(judged.users),
        "candidates_per_source": CANDIDATES_PER_SOURCE,
        "weights": dict(snapshot.resolve("", {})),
        "ordered_by": snapshot.ranker.method("", None, is_cold=False),
        "rows": rows,
        "best_source": best,
        "beats_best_source": _interval(served).low > _interval(alone[best]).high,
        "against_best_source": difference(served, alone[best]).as_json(),
    }


def _slates(
    ranker: Ranker, judged: Split, config: FitConfig, compared: list[Way]
) -> Iterator[tuple[int, list[Int64Array]]]:
    """Place of each judged user, and rows of the data int64 [≤ K] by each way."""
    snapshot, space, table = ranker.snapshot, ranker.space, ranker.table
    asks, allowed_R = asks_of(judged, WHOLE_SHOP), ranker.allowed(judged)
    batches = ranker.batches(
        judged.train, asks, config.repeats, with_trends=True, for_ranking=snapshot.ranker.runner is not None
    )
    for start, users, _names, excluded in batches:
        towers_2BD = TwoTowerSource(snapshot.runner, table).both(users, space)
        lists = snapshot.find(
            users, space, table, DEEPEST, set(snapshot.learnable), allowed_R, excluded, user_BD=towers_2BD[0]
        )
        for b, of_user in enumerate(lists):
            shopper = Shopper(users, b, towers_2BD[:, b])
            learned = snapshot.resolve("", {}, is_cold=shopper.is_cold)
            slates = (_fused(ranker, of_user, learned, way, shopper) for way in compared)
            yield start + b, [ranker.back_R[rows_K] for rows_K in slates]


def _fused(ranker: Ranker, lists: Mapping[str, Ranked], learned: Weights, way: Way, shopper: Shopper) -> Int64Array:
    """Rows of the space [≤ K]."""
    snapshot, weights = ranker.snapshot, way.weights(learned)
    found = snapshot.fusion.fuse(same_budget(lists, learned, weights), weights, NUM_RANKED)
    if not way.ranks or snapshot.ranker.runner is None:
        return found.rows_C[:LIST_LENGTH]
    return _ranked(snapshot, ranker, replace(found, shopper=shopper))


def same_budget(lists: Mapping[str, Ranked], served: Weights, used: Weights) -> dict[str, Ranked]:
    """The lists cut so that, whatever the number of sources used, together they propose as much as the served ones do."""
    num_served, num_used = (sum(weight > 0 for weight in of.values()) for of in (served, used))
    depth = num_served * CANDIDATES_PER_SOURCE // max(1, num_used)
    return {name: Ranked(of.rows_K[:depth], of.scores_K[:depth]) for name, of in lists.items()}


def _ranked(snapshot: Snapshot, ranker: Ranker, found: Candidates) -> Int64Array:
    (order,) = snapshot.ordered([Unordered(found, "")], ranker.space, ranker.table)
    best_C: Int64Array = np.argsort(-order.scores_C, kind="stable")[:LIST_LENGTH]
    return found.rows_C[best_C]


def _row(way: Way, found: Judged, served: Judged) -> Json:
    figures = found.as_json()
    return {
        "group": way.group,
        "variant": way.variant,
        **{name: figures[name] for name in SHOWN},
        "against_served": difference(found, served).as_json(),
    }


def _interval(found: Judged) -> Interval:
    return intervals({MAIN_METRIC: found.metrics_U[MAIN_METRIC]})[MAIN_METRIC]
