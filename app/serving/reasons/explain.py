"""The step that says why each item of a finished slate is there. Runs only where reasons were asked for.

What could have carried the slate → a short list → each left out, by the code that made the slate → evidence → a sentence.
Cost: tests/bench/bench_reasons.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.retrieval.sources.knowledge_graph import KnowledgeGraphSource
from app.serving.fallback import Pick
from app.serving.live import LiveSnapshot
from app.serving.ranking import Ranking
from app.serving.reasons.attributes import common_attributes
from app.serving.reasons.causes import item_causes, other_causes
from app.serving.reasons.leave_out import scores_at, shares_of_causes, shares_of_sources
from app.serving.reasons.reason import Evidence, Reason
from app.serving.reasons.sentence import Sentences
from app.serving.reasons.shortlist import shortlist
from app.serving.rules import Asked
from app.types import BoolArray, Float32Array, Int64Array

MIN_SHARE = 0.01  # of evidence that is worth telling
MAX_OF_A_KIND = 3  # pieces of evidence, per item
BOOST = "boost"
PLACING_RULES = ("pin", "promotion", "exploration")  # an item stands there because of them, whatever its score
GRAPH = KnowledgeGraphSource.name
Found = dict[int, list[Evidence]]


def explain(
    asked: Asked, live: LiveSnapshot, allowed_R: BoolArray, ranking: Ranking | None, picks: Sequence[Pick], num: int
) -> dict[int, Reason]:
    """Row -> reason, for every pick. num: candidates that were ranked."""
    found: Found = {pick.row: _of_rules(pick) for pick in picks}
    ranked = set(ranking.candidates.rows_C.tolist()) if ranking is not None else set()
    rows_K = np.asarray([pick.row for pick in picks if pick.row in ranked], np.int64)
    if ranking is not None and len(rows_K):
        _add_causes(found, asked, live, allowed_R, ranking, rows_K, num)
        _add_sources(found, asked, live, ranking, rows_K)
    _add_boosts(found, ranking, picks)
    for pick in picks:
        if not found[pick.row]:
            found[pick.row] = [Evidence("source", 1.0, source=name) for name in pick.sources[:1]]
    named = (e.item_id for evidence in found.values() for e in evidence if e.item_id)
    sentences = Sentences(asked, live, named)
    return {pick.row: sentences.reason(live.catalogue.id_at(pick.row), found[pick.row]) for pick in picks}


def _of_rules(pick: Pick) -> list[Evidence]:
    """The rules that put it there."""
    rules = [*pick.rules, *(["exploration"] if pick.is_explored else [])]
    return [Evidence("rule", 1.0, rule=rule) for rule in dict.fromkeys(rules) if rule in PLACING_RULES]


def _add_causes(
    found: Found, asked: Asked, live: LiveSnapshot, allowed_R: BoolArray, ranking: Ranking, rows_K: Int64Array, num: int
) -> None:
    items = item_causes(asked, live)
    causes = [*shortlist(items, live, ranking.candidates, rows_K), *other_causes(asked, items)]
    share_XK = shares_of_causes(asked, live, allowed_R, ranking, rows_K, causes, num)
    for k, row in enumerate(rows_K.tolist()):
        evidence = [
            Evidence(
                cause.kind, share, item_id=cause.item_id or None, event=cause.event or None, words=cause.words or None
            )
            for cause, share in zip(causes, _rounded(share_XK[:, k]), strict=True)
        ]
        for kinds in (("history", "context"), ("taste",), ("cart",), ("profile",), ("query",)):
            found[row] += _strongest([e for e in evidence if e.kind in kinds])


def _add_sources(found: Found, asked: Asked, live: LiveSnapshot, ranking: Ranking, rows_K: Int64Array) -> None:
    """And what the knowledge graph, where it is among them, went over."""
    assert live.model
    names, share_XK = shares_of_sources(asked, live, ranking, rows_K)
    by_row = {row: dict(zip(names, _rounded(share_XK[:, k]), strict=True)) for k, row in enumerate(rows_K.tolist())}
    for row, shares in by_row.items():
        found[row] += _strongest([Evidence("source", share, source=name) for name, share in shares.items()])
    of_graph = {row: shares.get(GRAPH, 0.0) for row, shares in by_row.items()}
    of_graph = {row: share for row, share in of_graph.items() if share >= MIN_SHARE}
    for row, attribute in common_attributes(asked, live, ranking.candidates, of_graph).items():
        found[row] += _strongest([attribute])


def _add_boosts(found: Found, ranking: Ranking | None, picks: Sequence[Pick]) -> None:
    """The part of a raised score that is the boost's."""
    boosted = [pick for pick in picks if BOOST in pick.rules and pick.score > 0]
    if ranking is None or not boosted:
        return
    scores = scores_at(ranking, np.asarray([pick.row for pick in boosted], np.int64))
    for pick, score in zip(boosted, scores.tolist(), strict=True):
        found[pick.row] += _strongest([Evidence("rule", round(1.0 - score / pick.score, 4), rule=BOOST)])


def _rounded(shares: Float32Array) -> list[float]:
    """As doubles, so that they are written with four digits."""
    return [round(share, 4) for share in shares.tolist()]


def _strongest(evidence: list[Evidence]) -> list[Evidence]:
    """At most MAX_OF_A_KIND that are worth telling."""
    return sorted((e for e in evidence if e.share >= MIN_SHARE), key=lambda e: -e.share)[:MAX_OF_A_KIND]
