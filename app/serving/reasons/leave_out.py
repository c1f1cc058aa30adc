"""How much of an item's score is gone without a cause: the request is answered again without it, by the code that made the slate.

Shapes: K items of the slate, X things left out, C candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from app.retrieval.candidates import Candidates
from app.retrieval.ranker import Method
from app.serving.live import LiveSnapshot
from app.serving.ranking import Ranking, order
from app.serving.reasons.causes import Cause, without
from app.serving.retrieve import retrieve_each, weights_of
from app.serving.rules import Asked
from app.types import BoolArray, Float32Array, Int64Array


def shares_of_causes(
    asked: Asked, live: LiveSnapshot, allowed_R: BoolArray, ranking: Ranking, rows_K: Int64Array,
    causes: Sequence[Cause], num: int,
) -> Float32Array:  # fmt: skip
    """float32 [X, K], 0-1: the part of the score of each item that is gone without each cause. num: candidates to rank, as in the slate.

    All versions of the request are retrieved as one batch; the rules, allowed_R, stay what they were.
    """
    assert live.model
    if not causes:
        return np.zeros((0, len(rows_K)), np.float32)
    versions = [without(asked, cause) for cause in causes]
    weights = [weights_of(version, live, live.model, asked.scenario) for version in versions]
    found = retrieve_each(versions, live, allowed_R, asked.scenario, weights, num)
    by = method_of(ranking)
    return _gone(scores_at(ranking, rows_K), scores_of(versions, live, found, rows_K, by))


def shares_of_sources(
    asked: Asked, live: LiveSnapshot, ranking: Ranking, rows_K: Int64Array
) -> tuple[list[str], Float32Array]:
    """The sources and float32 [X, K], 0-1: the part of the score of each item that is gone without what the source said."""
    found = ranking.candidates
    place_K = np.flatnonzero(np.isin(found.rows_C, rows_K))
    names = [name for name, rank_C in found.ranks.items() if rank_C[place_K].any()]
    versions = [without_source(found, name) for name in names]
    left_XK = scores_of([asked] * len(names), live, versions, rows_K, method_of(ranking))
    return names, _gone(scores_at(ranking, rows_K), left_XK)


def without_source(found: Candidates, name: str) -> Candidates:
    """The same candidates as if this source had not brought any."""
    part_C = found.parts[name]
    return replace(
        found,
        scores_C=found.scores_C - part_C,
        ranks={**found.ranks, name: np.zeros_like(found.ranks[name])},
        table=None,
        scores={**found.scores, name: np.full_like(found.scores[name], np.nan)},
        parts={**found.parts, name: np.zeros_like(part_C)},
    )


def scores_at(ranking: Ranking, rows_K: Int64Array) -> Float32Array:
    """float32 [K]; 0 for an item that is no candidate."""
    place_K = places_of(ranking.candidates, rows_K)
    scores_K: Float32Array = np.where(place_K >= 0, ranking.scores_C[place_K], 0.0).astype(np.float32)
    return scores_K


def method_of(ranking: Ranking) -> Method:
    """What scored the slate must score it without a cause as well: without its history a request may be served by another method,
    and scores of two methods say nothing beside each other."""
    return "ranker" if ranking.method == "ranker" else "fusion"


def scores_of(
    asked: Sequence[Asked],
    live: LiveSnapshot,
    found: Sequence[Candidates],
    rows_K: Int64Array,
    by: Method | None = None,
) -> Float32Array:
    """float32 [X, K]: the same of X lists of candidates that have not been ranked, by one ranking of those that are asked for."""
    place_XK = [places_of(candidates, rows_K) for candidates in found]
    at = [place_K[place_K >= 0] for place_K in place_XK]
    scores_XK = np.zeros((len(found), len(rows_K)), np.float32)
    for scores_K, place_K, of_one in zip(scores_XK, place_XK, order(asked, live, found, at, by), strict=True):
        scores_K[place_K >= 0] = of_one.scores_C
    return scores_XK


def places_of(found: Candidates, rows_K: Int64Array) -> Int64Array:
    """Of the rows among the candidates, -1 for those that are not there."""
    place_of = {row: place for place, row in enumerate(found.rows_C.tolist())}
    return np.asarray([place_of.get(row, -1) for row in rows_K.tolist()], np.int64)


def _gone(whole_K: Float32Array, left_XK: Float32Array) -> Float32Array:
    share_XK: Float32Array = np.clip(1.0 - left_XK / np.maximum(whole_K, 1e-9), 0.0, 1.0).astype(np.float32)
    return share_XK
