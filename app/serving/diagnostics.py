"""A slate's way as an admin may read it: what came from where, what each rule did, and how every item of the slate came to stand.

Bounded: at most MAX_N items, as many sources as there are, their pairs, and the examples that the rules kept.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from itertools import combinations

import numpy as np
import orjson

from app.retrieval.candidates import Candidates
from app.scenarios.scenario import Scenario
from app.serving.draft import Draft
from app.serving.fallback import Pick
from app.serving.slate import Diagnostics, ItemTrace, Overlap, SourceTrace, Versions

DIGITS = 6


def diagnose(draft: Draft, degraded: tuple[str, ...]) -> Diagnostics:
    found = draft.ranking.candidates if draft.ranking else None
    num_allowed = draft.admission.num_allowed
    return Diagnostics(
        candidates=draft.candidates,
        dropped=draft.admission.dropped,
        timings_ms={stage: round(ms, 3) for stage, ms in draft.timings_ms.items()},
        weights={name: round(weight, DIGITS) for name, weight in draft.weights.items()},
        fallbacks=tuple(draft.fallbacks),
        num_items=draft.live.catalogue.num_items,
        num_allowed=num_allowed,
        num_ranked=0 if found is None else len(found.rows_C),
        in_slate=survivors_of(draft),
        overlaps=() if found is None else overlaps_of(found),
        rules=tuple(draft.reports),
        degraded=degraded,
        ranking=draft.ranking.method if draft.ranking else None,
        versions=versions_of(draft),
        items=traces_of(draft),
    )


def survivors_of(draft: Draft) -> dict[str, int]:
    """Source or fallback step -> items of the slate that it brought, alone or with others."""
    counts = dict.fromkeys(draft.candidates, 0)
    for pick in draft.picks:
        for source in pick.sources:
            counts[source] = counts.get(source, 0) + 1
    return counts


def overlaps_of(found: Candidates) -> tuple[Overlap, ...]:
    """Pairs of sources by how many candidates both brought, most first; pairs without any are left out."""
    brought = {name: rank_C > 0 for name, rank_C in found.ranks.items()}
    pairs = (Overlap(a, b, int(np.count_nonzero(brought[a] & brought[b]))) for a, b in combinations(brought, 2))
    return tuple(sorted((pair for pair in pairs if pair.num), key=lambda pair: -pair.num))


def traces_of(draft: Draft) -> tuple[ItemTrace, ...]:
    """In the slate's order."""
    if draft.ranking is None:
        return tuple(_trace(draft, pick, None) for pick in draft.picks)
    place_of = {row: place for place, row in enumerate(draft.ranking.candidates.rows_C.tolist())}
    return tuple(_trace(draft, pick, place_of.get(pick.row)) for pick in draft.picks)


def _trace(draft: Draft, pick: Pick, place: int | None) -> ItemTrace:
    """place: among the candidates; None: not one of them."""
    item_id, score = draft.live.catalogue.id_at(pick.row), round(pick.score, DIGITS)
    if place is None or draft.ranking is None:
        return ItemTrace(item_id, None, None, score, round(pick.propensity, DIGITS), pick.rules, ())
    found = draft.ranking.candidates
    sources = tuple(
        SourceTrace(
            name,
            int(rank_C[place]),
            round(float(found.scores[name][place]), DIGITS),
            round(float(found.parts[name][place]), DIGITS),
        )
        for name, rank_C in found.ranks.items()
        if rank_C[place] > 0
    )
    return ItemTrace(
        item_id,
        round(float(found.scores_C[place]), DIGITS),
        round(float(draft.ranking.scores_C[place]), DIGITS),
        score,
        round(pick.propensity, DIGITS),
        pick.rules,
        sources,
    )


def versions_of(draft: Draft) -> Versions:
    live = draft.live
    return Versions(
        model=live.model_version,
        model_catalogue_revision=live.model.snapshot.manifest.catalogue_revision if live.model else None,
        catalogue_revision=live.catalogue.revision,
        scenario=scenario_hash(draft.asked.scenario),
    )


def scenario_hash(scenario: Scenario) -> str:
    """Of its content: equal for two processes that serve it by the same settings."""
    content = orjson.dumps(asdict(scenario), option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    return hashlib.sha256(content).hexdigest()[:16]
