"""What fills a slate that retrieval could not fill. After the last step it is short only if no allowed item is left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from app.serving.live import LiveSnapshot
from app.types import BoolArray, Int64Array

RANK_CONSTANT = 20.0  # scores of a filled place fall like those of a fused list
LAST_STEPS = ("popular", "new")


class Pick(NamedTuple):
    """One place of a slate: a row of the view. propensity: probability that this item stands here. rules: of the slate that put it
    there or moved it, such as pin, promotion, boost."""

    row: int
    score: float
    sources: tuple[str, ...]
    propensity: float = 1.0
    is_explored: bool = False
    rules: tuple[str, ...] = ()


def steps_of(fallback: Sequence[str]) -> Iterator[str]:
    """The scenario's own chain, and behind it what always holds something."""
    yield from dict.fromkeys((*fallback, *LAST_STEPS))


def popular_rows(live: LiveSnapshot, trending: Sequence[str], allowed_R: BoolArray, num: int) -> Int64Array:
    """What sells now, then what sold most in the data the model was trained with."""
    now = live.catalogue.rows(trending)
    rows = now[allowed_R[now]]
    if live.model is not None and len(rows) < num:
        counts_N = live.model.snapshot.item_counts_N
        N = len(counts_N)
        trained = live.model.space.current_N if live.model.space.current_N is not None else np.arange(N)
        best = np.flatnonzero(allowed_R[trained] & (np.asarray(counts_N) > 0))
        best = best[np.argsort(-counts_N[best], kind="stable")][:num]
        rows = np.concatenate([rows, trained[best]])
    return np.asarray(list(dict.fromkeys(rows.tolist()))[:num], np.int64)


def fill(picks: list[Pick], rows: Int64Array, source: str, num: int) -> bool:
    """Append rows, best first, up to num places, scored below what stands. Returns whether any came."""
    before = len(picks)
    for row in rows.tolist()[: max(num - before, 0)]:
        place = len(picks) + 1
        score = (RANK_CONSTANT + 1) / (RANK_CONSTANT + place)
        picks.append(Pick(row, min(score, picks[-1].score) if picks else score, (source,)))
    return len(picks) > before
