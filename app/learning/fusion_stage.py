"""The fusion and its calibration, fitted on cases of a validation cut. What the sources propose is looked up once for both.

Shapes: U cases, K ranks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from app.learning.calibration_fit import CALIBRATED_RANKS, fit_calibration
from app.learning.dataset import Interactions
from app.learning.evaluation.metrics import hits
from app.learning.evaluation.rank import WHOLE_SHOP, Ask, Ranker, asks_of
from app.learning.fit_config import FitConfig
from app.learning.fusion_cases import CaseTable
from app.learning.fusion_fit import evenly, fit_fusion
from app.learning.guard import split_cases
from app.learning.next_events import Cases, next_event_cases, without_history
from app.learning.splits import Repeats, Split
from app.retrieval.calibration import Calibration
from app.retrieval.candidates import Ranked
from app.retrieval.fusion import Fusion
from app.types import Int64Array


class FusionFit(NamedTuple):
    """report: NDCG@10 by kind of fusion, see `fit_fusion`. calibration: chance of a hit by fused score."""

    fusion: Fusion
    report: dict[str, float]
    calibration: Calibration


def fit_fusion_on(ranker: Ranker, data: Interactions, inner: Split, config: FitConfig) -> FusionFit:
    """inner: a cut after which the ranker's snapshot has seen nothing.

    The whole shop's weights on one slate per user, judged by all that is wanted anywhere; a scenario's on the slates of the
    users who want something there, judged by that. Next events know their scenario: there the two are the same cases."""
    by_event = config.fusion_cases == "next_event" and config.protocol == "temporal"
    log = data if by_event else inner.train
    asks, targets = next_events_after(data, inner, config) if by_event else (asks_of(inner, WHOLE_SHOP), inner.targets)
    names = [log.scenarios[ask.scenario] if by_event else "" for ask in asks]
    shop_lists = ranker.source_lists(log, asks, inner, config.repeats)

    def table(of: Cases, repeats: Repeats = config.repeats) -> CaseTable:
        """Of as many cases as the fit looks at."""
        asked, wanted = ([part[place] for place in evenly(len(part))] for part in of)
        return CaseTable(ranker.source_lists(log, asked, inner, repeats), wanted, ranker.snapshot.learnable)

    lists, wanted, named = list(shop_lists), list(targets), list(names)
    if not by_event:
        for name, (of_scenario, wanted_there) in split_cases(inner).items():
            lists += ranker.source_lists(log, of_scenario, inner, config.repeats)
            wanted, named = wanted + wanted_there, named + [name] * len(wanted_there)
    cold = table((without_history(list(asks)), list(targets)))
    again = table(next_events_after(data, inner, config, "allow"), "allow") if by_event else None
    whole = CaseTable(lists, wanted, ranker.snapshot.learnable)
    fusion, report = fit_fusion(whole, named, cold, again, len(asks))
    return FusionFit(fusion, report, _calibrated(fusion, shop_lists, asks, targets, names))


def _calibrated(
    fusion: Fusion, lists: Sequence[Mapping[str, Ranked]], asks: Sequence[Ask], targets: Sequence[Int64Array],
    names: Sequence[str],
) -> Calibration:  # fmt: skip
    """Chance of a hit by score, on the slates that the fusion makes of these lists."""
    topk_UK = np.full((len(lists), CALIBRATED_RANKS), -1, np.int64)
    scores_UK = np.full(topk_UK.shape, -np.inf, np.float32)
    for u, (of_user, ask, name) in enumerate(zip(lists, asks, names, strict=True)):
        weights = fusion.resolve(name, {}, is_cold=ask.past.stop == ask.past.start)
        found = fusion.fuse(of_user, weights, CALIBRATED_RANKS)
        topk_UK[u, : len(found.rows_C)], scores_UK[u, : len(found.rows_C)] = found.rows_C, found.scores_C
    return fit_calibration(scores_UK, hits(topk_UK, targets), topk_UK >= 0)


def next_events_after(data: Interactions, inner: Split, config: FitConfig, repeats: Repeats = "exclude") -> Cases:
    """On items that the training part of the cut knows."""
    known_N = np.bincount(inner.train.item_E, minlength=len(data.item_ids)).astype(np.int64)
    return next_event_cases(data, inner.now[0], known_N, config.training.seed, repeats)
