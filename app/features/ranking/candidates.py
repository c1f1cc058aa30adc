"""The features of the candidates of several requests, filled group by group into one matrix.

NaN stands for "nobody knows" and becomes the average at the ranker's door. What goes by candidate is compiled (`loops`), likeness is a
product of matrices. Shapes: F features, B cases, C candidates of one, X those asked for of all cases, one case behind the other, which
begin at start_B1; Q sources, L history, H newest of it, W vectors that a candidate is held against, D dim, P text dim.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from app.features.moment import Moment
from app.features.ranking.facts import ItemFacts
from app.features.ranking.loops import (
    BY_RANK,
    add_means,
    fill_days,
    fill_recent,
    fill_repeats,
    fill_sources,
    fill_tastes,
)
from app.features.ranking.names import FEATURES, ROW, SOURCES
from app.features.ranking.shopper import Pasts, Shopper
from app.types import Float32Array, Int32Array, Int64Array

RECENT = 8  # newest items of the history that a candidate is held against one by one
SECONDS_PER_DAY = 86_400.0
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

    def popularity(self, rows_C: Int64Array, scenario_C: Int64Array) -> Float32Array:
        """Log shares of the events in the scenario and in the shop, and log1p of the training events: [3, C], NaN for what training did
        not see. scenario_C: rows of the scenario table."""

    def intervals(self, rows_C: Int64Array) -> Float32Array:
        """Days until it is bought again, as a rule: [C], NaN where unknown."""


class Case(NamedTuple):
    """Whose candidates are asked about. scenario: row of the scenario table. at_K: places of the candidates that are; None: all."""

    found: Found
    shopper: Shopper
    scenario: int
    at_K: Int64Array | None = None

    @property
    def places_K(self) -> Int64Array:
        return _all_places(len(self.found.rows_C)) if self.at_K is None else self.at_K


def features_of(cases: Sequence[Case], items: Items) -> Float32Array:
    """float32 [F, X]. cases: one or more; their histories of one length."""
    places = [case.places_K for case in cases]
    rows_X = np.concatenate([case.found.rows_C[place_K] for case, place_K in zip(cases, places, strict=True)])
    num_B = [len(place_K) for place_K in places]
    start_B1 = np.asarray([0, *accumulate(num_B)])
    out_FX = np.zeros((len(FEATURES), len(rows_X)), np.float32)
    if not len(rows_X):
        return out_FX
    pasts = Pasts.of([case.shopper for case in cases])
    moments, facts = [case.shopper.moment for case in cases], items.facts
    _of_sources(out_FX, cases, places, start_B1)
    _of_likeness(out_FX, rows_X, start_B1, cases, pasts, items)
    fill_tastes(
        out_FX[TASTES : TASTES + 8], rows_X, start_B1, facts.log_price_R, facts.category_R, facts.department_R, facts.brand_R,
        (pasts.rows_BL, pasts.weight_BL, pasts.num_B),
    )  # fmt: skip
    _of_age(out_FX, rows_X, start_B1, moments, items)
    scenario_X = np.repeat(np.asarray([case.scenario for case in cases]), num_B)
    out_FX[POPULARITY : POPULARITY + 3] = items.popularity(rows_X, scenario_X)
    fill_repeats(
        out_FX[REPEATS : REPEATS + 4], rows_X, start_B1, items.intervals(rows_X), (pasts.rows_BL, pasts.ages_BL, pasts.num_B),
        _seen(moments),
    )  # fmt: skip
    out_FX[REQUEST:] = np.repeat(_of_requests(moments, pasts, items.home), num_B, axis=1)
    return out_FX


@lru_cache(maxsize=16)
def _all_places(num: int) -> Int64Array:
    places_C = np.arange(num)
    places_C.flags.writeable = False
    return places_C


def _of_sources(
    out_FX: Float32Array, cases: Sequence[Case], places: Sequence[Int64Array], start_B1: Int64Array
) -> None:
    for case, place_K, start in zip(cases, places, start_B1.tolist(), strict=False):
        rank_QC, score_QC = case.found.stacked()
        row_Q = _rows_of(tuple(case.found.ranks))
        fill_sources(out_FX[:TOWERS], start, row_Q, rank_QC, score_QC, case.found.scores_C, place_K, BY_RANK)
    log_fused_X = out_FX[ROW["log fused"]]
    np.log(log_fused_X, out=log_fused_X)


@lru_cache(maxsize=256)
def _rows_of(sources: tuple[str, ...]) -> Int64Array:
    """Of their ranks; -1 for a source that is no feature."""
    return np.asarray([SOURCES.index(name) if name in SOURCES else -1 for name in sources], np.int64)


def _of_likeness(
    out_FX: Float32Array, rows_X: Int64Array, start_B1: Int64Array, cases: Sequence[Case], pasts: Pasts, items: Items
) -> None:
    """To what the towers make of the shopper, to the newest of their past, and to the words asked for."""
    recent_BH, weight_BH, num_B = pasts.newest(RECENT, spare=rows_X[0])
    recent_Y = recent_BH.ravel()

    asked_BDW = _asked(items.vectors(recent_Y), len(cases))
    for asked_DW, case in zip(asked_BDW, cases, strict=True):
        if case.shopper.towers_2D is not None:
            asked_DW[:, RECENT:] = case.shopper.towers_2D.T
    alike_XW = _alike(items.vectors(rows_X), asked_BDW, start_B1)
    out_FX[TOWERS : TOWERS + 2] = alike_XW[:, RECENT:].T
    fill_recent(out_FX[TOWERS + 2 : TOWERS + 4], alike_XW, start_B1, num_B)

    asked_BPW = _asked(items.texts(recent_Y), len(cases))
    add_means(asked_BPW, weight_BH, num_B)
    for asked_PW, case in zip(asked_BPW, cases, strict=True):
        if case.shopper.moment.query_T is not None:
            asked_PW[:, RECENT + 1] = items.words(case.shopper.moment.query_T)
    alike_XW = _alike(items.texts(rows_X), asked_BPW, start_B1)
    out_FX[TEXTS + 2 : TEXTS + 4] = alike_XW[:, RECENT:].T
    fill_recent(out_FX[TEXTS : TEXTS + 2], alike_XW, start_B1, num_B)


def _asked(recent_YD: Float32Array, num: int) -> Float32Array:
    """[B, D, W]: the newest of each past, and two more, of which nothing is known yet."""
    asked_BDW = np.full((num, recent_YD.shape[1], RECENT + 2), np.nan, np.float32)
    asked_BDW[:, :, :RECENT] = recent_YD.reshape(num, RECENT, -1).transpose(0, 2, 1)
    return asked_BDW


def _alike(vectors_XD: Float32Array, asked_BDW: Float32Array, start_B1: Int64Array) -> Float32Array:
    """[X, W]. With the few on the right, as they lie here: in any other layout BLAS takes up to twice the time."""
    alike_XW, start = np.empty((len(vectors_XD), asked_BDW.shape[2]), np.float32), start_B1.tolist()
    for b, asked_DW in enumerate(asked_BDW):
        at = slice(start[b], start[b + 1])
        np.matmul(vectors_XD[at], asked_DW, out=alike_XW[at])
    return alike_XW


def _of_age(
    out_FX: Float32Array, rows_X: Int64Array, start_B1: Int64Array, moments: Sequence[Moment], items: Items
) -> None:
    fresh_X, age_X = out_2X = out_FX[AGE : AGE + 2]
    at_B = np.asarray([math.nan if moment.at is None else moment.at for moment in moments])
    fill_days(out_2X, items.published(rows_X), start_B1, at_B)
    np.exp(fresh_X, out=fresh_X)
    np.log(age_X, out=age_X)


def _seen(moments: Sequence[Moment]) -> tuple[Int64Array, Float32Array, Int64Array]:
    """What each was shown: rows and times, and where those of each begin."""
    start_B1 = np.asarray([0, *accumulate(len(moment.seen_rows_K) for moment in moments)])
    rows_S = np.concatenate([moment.seen_rows_K for moment in moments])
    return rows_S, np.concatenate([moment.seen_times_K for moment in moments]), start_B1


def _of_requests(moments: Sequence[Moment], pasts: Pasts, home: str) -> Float32Array:
    """The same for every candidate: [those features, B]."""
    ages = pasts.newest_ages()
    said = [_of_request(*one, home) for one in zip(moments, pasts.num_B.tolist(), ages, strict=True)]
    return np.asarray(said, np.float32).T


def _of_request(moment: Moment, num: int, newest_age: float, home: str) -> tuple[float, ...]:
    """From "history" on, in the order of `names.FEATURES`. newest_age: hours, NaN where there is none."""
    sine = cosine = 0.0
    if moment.at is not None:
        turn = 2 * math.pi * (moment.at % SECONDS_PER_DAY) / SECONDS_PER_DAY
        sine, cosine = math.sin(turn), math.cos(turn)
    device, country = _word(moment, "device"), _word(moment, "country")
    is_home, is_away = country != "" and country == home, country not in ("", home)
    of_history, of_device = (math.log1p(num), math.log1p(newest_age)), (device in MOBILE, device in DESKTOP)
    return *of_history, sine, cosine, *of_device, is_home, is_away, moment.query_T is not None


def _word(moment: Moment, name: str) -> str:
    return str(moment.context.get(name) or "").strip().lower()
