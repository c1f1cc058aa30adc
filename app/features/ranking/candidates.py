"""The features of one request's candidates, filled group by group into one matrix.

NaN stands for "nobody knows" and becomes the average at the ranker's door. What goes by candidate is compiled (`loops`), likeness is a
product of matrices. Shapes: F features, C candidates, Q sources, L history, H newest of it, D dim, P text dim, S scenarios.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.features.moment import Moment
from app.features.ranking.facts import ItemFacts
from app.features.ranking.loops import BY_RANK, fill_days, fill_recent, fill_repeats, fill_sources, fill_tastes
from app.features.ranking.names import FEATURES, ROW, SOURCES
from app.features.ranking.shopper import Past, Shopper
from app.types import Float32Array, Int32Array, Int64Array

RECENT = 8  # newest items of the history that a candidate is held against one by one
SECONDS_PER_DAY = 86_400.0
LEAST_WEIGHT = 1e-6
MOBILE, DESKTOP = ("mobile", "phone", "smartphone", "ios", "android", "app"), ("desktop", "web", "pc", "laptop")
# First rows of groups that are filled together.
TOWERS, TEXTS, TASTES, AGE, POPULARITY, REPEATS, REQUEST = (
    ROW[name] for name in ("tower", "text of last", "price", "fresh", "popular here", "times had", "history")
)


class Found(Protocol):
    """What retrieval found, see `retrieval.candidates.Candidates`."""

    @property
    def rows_C(self) -> Int64Array: ...

    @property
    def scores_C(self) -> Float32Array: ...

    @property
    def ranks(self) -> Mapping[str, Int32Array]: ...

    def stacked(self) -> tuple[Int32Array, Float32Array]:
        """Ranks and scores [Q, C], by source in the order of `ranks`."""


class Items(Protocol):
    """What is known of the rows of an item space. home: the shop's most frequent country, "" where none is known."""

    facts: ItemFacts
    home: str

    def vectors(self, rows_C: Int64Array) -> Float32Array:
        """Of the item tower: unit rows [C, D]."""

    def texts(self, rows_C: Int64Array) -> Float32Array:
        """Unit rows [C, P], zero without a text; P may be 0."""

    def words(self, text_T: Float32Array) -> Float32Array:
        """An encoded query in the space of `texts`: [P]."""

    def published(self, rows_C: Int64Array) -> NDArray[np.float64]:
        """Unix seconds [C]; -inf where unknown."""

    def popularity(self, rows_C: Int64Array, scenario: int) -> Float32Array:
        """Log shares of the events in the scenario and in the shop, and log1p of the training events: [3, C], NaN for what training did
        not see."""

    def intervals(self, rows_C: Int64Array) -> Float32Array:
        """Days until it is bought again, as a rule: [C], NaN where unknown."""


def features_of(
    found: Found, shopper: Shopper, items: Items, scenario: int, at_K: Int64Array | None = None
) -> Float32Array:
    """float32 [F, C], or [F, K] of the candidates at these places. scenario: row of the scenario table."""
    place_K = _all_places(len(found.rows_C)) if at_K is None else at_K
    rows_K = found.rows_C if at_K is None else found.rows_C[at_K]
    out_FK = np.zeros((len(FEATURES), len(rows_K)), np.float32)
    past, moment = shopper.past(), shopper.moment
    _of_sources(out_FK, found, place_K)
    _of_likeness(out_FK, rows_K, shopper, past, moment, items)
    facts = items.facts
    fill_tastes(
        out_FK[TASTES : TASTES + 8], rows_K, facts.log_price_R, facts.category_R, facts.department_R, facts.brand_R, past.rows_L,
        past.weight_L,
    )  # fmt: skip
    _of_age(out_FK, rows_K, moment, items)
    out_FK[POPULARITY : POPULARITY + 3] = items.popularity(rows_K, scenario)
    fill_repeats(
        out_FK[REPEATS : REPEATS + 4], rows_K, items.intervals(rows_K), past.rows_L, past.ages_L, moment.seen_rows_K,
        moment.seen_times_K,
    )  # fmt: skip
    _of_request(out_FK, past, moment, items.home)
    return out_FK


@lru_cache(maxsize=16)
def _all_places(num: int) -> Int64Array:
    places_C = np.arange(num)
    places_C.flags.writeable = False
    return places_C


def _of_sources(out_FK: Float32Array, found: Found, place_K: Int64Array) -> None:
    rank_QC, score_QC = found.stacked()
    fill_sources(out_FK[:TOWERS], _rows_of(tuple(found.ranks)), rank_QC, score_QC, found.scores_C, place_K, BY_RANK)
    log_fused_K = out_FK[ROW["log fused"]]
    np.log(log_fused_K, out=log_fused_K)


@lru_cache(maxsize=256)
def _rows_of(sources: tuple[str, ...]) -> Int64Array:
    """Of their ranks; -1 for a source that is no feature."""
    return np.asarray([SOURCES.index(name) if name in SOURCES else -1 for name in sources], np.int64)


def _of_likeness(
    out_FK: Float32Array, rows_K: Int64Array, shopper: Shopper, past: Past, moment: Moment, items: Items
) -> None:
    """To what the towers make of the shopper, to the newest of their past, and to the words asked for."""
    recent_H = past.newest(RECENT)
    rows_X = np.concatenate([recent_H, rows_K])
    _of_towers(out_FK[TOWERS : TOWERS + 4], items.vectors(rows_X), len(recent_H), shopper.towers_2D)
    words_P = None if moment.query_T is None else items.words(moment.query_T)
    _of_texts(out_FK[TEXTS : TEXTS + 4], items.texts(rows_X), past.weight_L[-RECENT:], words_P)


def _of_towers(out_4K: Float32Array, vectors_XD: Float32Array, H: int, towers_2D: Float32Array | None) -> None:
    """vectors_XD: of the newest of the past and, behind them, of the candidates."""
    asked_XD = vectors_XD[:H] if towers_2D is None else np.concatenate([vectors_XD[:H], towers_2D])
    alike_KX = _alike(vectors_XD[H:], asked_XD)
    out_4K[:2] = np.nan if towers_2D is None else alike_KX[:, H:].T
    fill_recent(out_4K[2:], alike_KX, H)


def _of_texts(
    out_4K: Float32Array, texts_XP: Float32Array, weight_H: Float32Array, words_P: Float32Array | None
) -> None:
    """Rows as in `_of_towers`. weight_H: of the newest in their mean."""
    H = len(weight_H)
    mean_P = weight_H @ texts_XP[:H] / max(float(weight_H.sum()), LEAST_WEIGHT)
    asked = [texts_XP[:H], mean_P[None]] if words_P is None else [texts_XP[:H], mean_P[None], words_P[None]]
    alike_KX = _alike(texts_XP[H:], np.concatenate(asked))
    fill_recent(out_4K, alike_KX, H)
    out_4K[2] = alike_KX[:, H] if H else np.nan
    out_4K[3] = alike_KX[:, H + 1] if words_P is not None else np.nan


def _alike(vectors_KD: Float32Array, asked_XD: Float32Array) -> Float32Array:
    """[K, X]. With the few on the right, as they lie here: in any other layout BLAS takes up to twice the time."""
    alike_KX: Float32Array = vectors_KD @ np.ascontiguousarray(asked_XD.T)
    return alike_KX


def _of_age(out_FK: Float32Array, rows_K: Int64Array, moment: Moment, items: Items) -> None:
    fresh_K, age_K = out_2K = out_FK[AGE : AGE + 2]
    if moment.at is None:
        out_2K[:] = np.nan
        return
    fill_days(out_2K, items.published(rows_K), moment.at)
    np.exp(fresh_K, out=fresh_K)
    np.log(age_K, out=age_K)


def _of_request(out_FK: Float32Array, past: Past, moment: Moment, home: str) -> None:
    """The same for every candidate."""
    sine = cosine = 0.0
    if moment.at is not None:
        turn = 2 * math.pi * (moment.at % SECONDS_PER_DAY) / SECONDS_PER_DAY
        sine, cosine = math.sin(turn), math.cos(turn)
    device, country = _word(moment, "device"), _word(moment, "country")
    said = {
        "history": math.log1p(len(past)),
        "idle": math.log1p(past.ages_L[-1]) if len(past) else math.nan,
        "hour sine": sine,
        "hour cosine": cosine,
        "mobile": device in MOBILE,
        "desktop": device in DESKTOP,
        "home country": country != "" and country == home,
        "other country": country not in ("", home),
        "words": moment.query_T is not None,
    }
    out_FK[REQUEST:] = np.asarray([*said.values()], np.float32)[:, None]


def _word(moment: Moment, name: str) -> str:
    return str(moment.context.get(name) or "").strip().lower()
