"""The features of one request's candidates, filled group by group into one matrix.

NaN stands for "nobody knows" and becomes the average at the ranker's door. No loop over candidates: a request pays for some
hundred small array operations. Shapes: F features, C candidates, Q sources, L history, H newest of it, D dim, P text dim, S scenarios.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from app.features.moment import Moment
from app.features.ranking.facts import ItemFacts
from app.features.ranking.names import FEATURES, ROW, SOURCES
from app.features.ranking.shopper import Past, Shopper
from app.types import Float32Array, Int32Array, Int64Array

RECENT = 8  # newest items of the history that a candidate is held against one by one
DEPTH = 60  # a source's score at this rank is 0, that of its first candidate 1
LEAST_SPREAD = 0.25  # of a shopper's log prices
FRESH_DAYS, MAX_DAYS = 30.0, 3_650.0
HOURS_PER_DAY, SECONDS_PER_DAY = 24.0, 86_400.0
MAX_RANK = 1_023
BY_RANK = np.r_[0.0, 1.0 / np.log2(1.0 + np.arange(1, MAX_RANK + 1))].astype(np.float32)
LEAST_FUSED = 1e-4
MOBILE, DESKTOP = ("mobile", "phone", "smartphone", "ios", "android", "app"), ("desktop", "web", "pc", "laptop")


class Found(Protocol):
    """What retrieval found, see `retrieval.candidates.Candidates`."""

    @property
    def rows_C(self) -> Int64Array: ...

    @property
    def scores_C(self) -> Float32Array: ...

    @property
    def ranks(self) -> Mapping[str, Int32Array]: ...

    @property
    def scores(self) -> Mapping[str, Float32Array]: ...


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

    def published(self, rows_C: Int64Array) -> np.ndarray:
        """Unix seconds [C]; -inf where unknown."""

    def popularity(self, rows_C: Int64Array, scenario: int) -> tuple[Float32Array, Float32Array, Float32Array]:
        """Log shares of the events in the scenario and in the shop, and log1p of the training events: [C] each, NaN for what training did
        not see."""

    def intervals(self, rows_C: Int64Array) -> Float32Array:
        """Days until it is bought again, as a rule: [C], NaN where unknown."""


def features_of(
    found: Found, shopper: Shopper, items: Items, scenario: int, at_K: Int64Array | None = None
) -> Float32Array:
    """float32 [F, C], or [F, K] of the candidates at these places. scenario: row of the scenario table."""
    places = slice(None) if at_K is None else at_K
    rows_C = found.rows_C[places]
    out_FC = np.zeros((len(FEATURES), len(rows_C)), np.float32)
    past, moment = shopper.past(), shopper.moment
    _of_sources(out_FC, found, places)
    _of_towers(out_FC, rows_C, shopper, past, items)
    _of_texts(out_FC, rows_C, past, moment, items)
    _of_tastes(out_FC, rows_C, past, items.facts)
    _of_age(out_FC, rows_C, moment, items)
    popular_C, in_shop_C, known_C = items.popularity(rows_C, scenario)
    out_FC[ROW["popular here"]], out_FC[ROW["popular in shop"]], out_FC[ROW["known"]] = popular_C, in_shop_C, known_C
    _of_repeats(out_FC, rows_C, past, moment, items)
    _of_request(out_FC, past, moment, items.home)
    return out_FC


def _of_sources(out_FC: Float32Array, found: Found, places: slice | Int64Array) -> None:
    """Rank and score of each source; scores are held against the whole list, whichever places are asked for."""
    Q = len(SOURCES)
    rank_QC = np.zeros((Q, len(found.rows_C)), np.int32)
    score_QC = np.zeros(rank_QC.shape, np.float32)
    for q, name in enumerate(SOURCES):
        if name in found.ranks:
            rank_QC[q], score_QC[q] = found.ranks[name], found.scores[name]
    brought_QC = rank_QC > 0
    top_Q1 = np.where(brought_QC, score_QC, -np.inf).max(1, keepdims=True, initial=-np.inf)
    least_Q1 = np.where(brought_QC & (rank_QC <= DEPTH), score_QC, np.inf).min(1, keepdims=True, initial=np.inf)
    rank_QC, score_QC, brought_QC = rank_QC[:, places], score_QC[:, places], brought_QC[:, places]
    span_Q1 = np.maximum(np.where(np.isfinite(top_Q1), top_Q1 - least_Q1, 1.0), 1e-9)
    least_Q1 = np.where(np.isfinite(least_Q1), least_Q1, 0.0)
    out_FC[:Q] = BY_RANK[np.minimum(rank_QC, MAX_RANK)]
    by_score_QC = np.minimum(np.maximum((score_QC - least_Q1) / span_Q1, 0.0), 1.0)
    out_FC[Q : 2 * Q] = np.where(brought_QC, by_score_QC, 0.0)
    fused_C = found.scores_C[places]
    out_FC[ROW["fused"]] = fused_C
    out_FC[ROW["log fused"]] = np.log(np.maximum(fused_C, LEAST_FUSED))
    out_FC[ROW["sources"]] = brought_QC.sum(0)


def _of_towers(out_FC: Float32Array, rows_C: Int64Array, shopper: Shopper, past: Past, items: Items) -> None:
    vectors_CD = items.vectors(rows_C)
    recent_HD = items.vectors(past.newest(RECENT))
    towers_2D = shopper.towers_2D
    asked_XD = recent_HD if towers_2D is None else np.concatenate([towers_2D, recent_HD])
    alike_XC = asked_XD @ vectors_CD.T
    if towers_2D is not None:
        out_FC[ROW["tower"]], out_FC[ROW["pooled tower"]] = alike_XC[0], alike_XC[1]
        alike_XC = alike_XC[2:]
    else:
        out_FC[ROW["tower"]] = out_FC[ROW["pooled tower"]] = np.nan
    out_FC[ROW["tower of last"]] = alike_XC[-1] if len(alike_XC) else np.nan
    out_FC[ROW["tower of recent"]] = alike_XC.max(0) if len(alike_XC) else np.nan


def _of_texts(out_FC: Float32Array, rows_C: Int64Array, past: Past, moment: Moment, items: Items) -> None:
    texts_CP = items.texts(rows_C)
    recent = past.newest(RECENT)
    weight_H = past.weight_L[-RECENT:]
    asked_XP = items.texts(recent)
    if len(recent):
        mean_P = weight_H @ asked_XP / max(float(weight_H.sum()), 1e-6)
        asked_XP = np.concatenate([asked_XP, mean_P[None]])
    if moment.query_T is not None:
        asked_XP = np.concatenate([asked_XP, items.words(moment.query_T)[None]])
        out_FC[ROW["words"]] = 1.0
    alike_XC = asked_XP @ texts_CP.T
    out_FC[ROW["text of query"]] = alike_XC[-1] if moment.query_T is not None else np.nan
    H = len(recent)
    out_FC[ROW["text of last"]] = alike_XC[H - 1] if H else np.nan
    out_FC[ROW["text of recent"]] = alike_XC[:H].max(0) if H else np.nan
    out_FC[ROW["text of history"]] = alike_XC[H] if H else np.nan


def _of_tastes(out_FC: Float32Array, rows_C: Int64Array, past: Past, facts: ItemFacts) -> None:
    """Price against the shopper's habit, and their shares of category, department and brand."""
    price_C = facts.log_price_R[rows_C]
    out_FC[ROW["price"]] = price_C
    prices_L = facts.log_price_R[past.rows_L]
    weight_L = np.where(np.isnan(prices_L), 0.0, past.weight_L)
    total = float(weight_L.sum())
    if total > 0:
        prices_L = np.where(np.isnan(prices_L), 0.0, prices_L)
        habit = float(weight_L @ prices_L) / total
        spread = max(float(np.sqrt(weight_L @ (prices_L - habit) ** 2 / total)), LEAST_SPREAD)
        out_FC[ROW["above habit"]] = (price_C - habit) / spread
        out_FC[ROW["from habit"]] = np.abs(out_FC[ROW["above habit"]])
    else:
        out_FC[ROW["above habit"]] = out_FC[ROW["from habit"]] = np.nan
    for name, codes_R in (
        ("category", facts.category_R), ("department", facts.department_R), ("brand", facts.brand_R)
    ):  # fmt: skip
        codes_C, codes_L = codes_R[rows_C], codes_R[past.rows_L]
        weight_V = np.bincount(codes_L, past.weight_L, int(codes_C.max(initial=0)) + 1)
        weight_V[0] = 0.0
        out_FC[ROW[f"{name} share"]] = weight_V[codes_C] / max(float(past.weight_L.sum()), 1e-6)
        if name != "department" and len(past):
            last = int(codes_L[-1])
            out_FC[ROW[f"{name} of last"]] = (codes_C == last) & (last > 0)


def _of_age(out_FC: Float32Array, rows_C: Int64Array, moment: Moment, items: Items) -> None:
    if moment.at is None:
        out_FC[ROW["fresh"]] = out_FC[ROW["age"]] = np.nan
        return
    days_C = (moment.at - items.published(rows_C)) / SECONDS_PER_DAY
    days_C = np.where(np.isfinite(days_C), np.minimum(np.maximum(days_C, 0.0), MAX_DAYS), np.nan)
    out_FC[ROW["fresh"]] = np.exp(-days_C / FRESH_DAYS)
    out_FC[ROW["age"]] = np.log1p(days_C)


def _of_repeats(out_FC: Float32Array, rows_C: Int64Array, past: Past, moment: Moment, items: Items) -> None:
    """What the shopper had of it before, when it is due again, and how often they were shown it without an act."""
    if len(past):
        order = np.argsort(past.rows_L, kind="stable")
        rows = past.rows_L[order]
        last = np.flatnonzero(np.append(rows[1:] != rows[:-1], True))  # of each item the newest event
        had, newest, times = rows[last], past.ages_L[order[last]], np.diff(last, prepend=-1)
        place_C = np.minimum(np.searchsorted(had, rows_C), len(had) - 1)
        mine = np.flatnonzero(had[place_C] == rows_C)
        if len(mine):
            place = place_C[mine]
            days = newest[place] / HOURS_PER_DAY
            out_FC[ROW["times had"], mine] = np.log1p(times[place])
            out_FC[ROW["since had"], mine] = 1.0 / (1.0 + days)
            interval = items.intervals(rows_C[mine])
            due = np.minimum((days + 0.05) / np.where(np.isnan(interval), np.inf, np.maximum(interval, 0.05)), 2.0)
            out_FC[ROW["due"], mine] = due
    if len(moment.seen_rows_K):
        order = np.argsort(moment.seen_rows_K, kind="stable")
        seen = moment.seen_rows_K[order]
        place_C = np.minimum(np.searchsorted(seen, rows_C), len(seen) - 1)
        out_FC[ROW["shown"]] = np.where(
            seen[place_C] == rows_C, np.log1p(np.maximum(moment.seen_times_K[order][place_C], 0.0)), 0.0
        )


def _of_request(out_FC: Float32Array, past: Past, moment: Moment, home: str) -> None:
    """The same for every candidate."""
    out_FC[ROW["history"]] = np.log1p(len(past))
    out_FC[ROW["idle"]] = np.log1p(past.ages_L[-1]) if len(past) else np.nan
    if moment.at is not None:
        turn = 2 * np.pi * (moment.at % SECONDS_PER_DAY) / SECONDS_PER_DAY
        out_FC[ROW["hour sine"]], out_FC[ROW["hour cosine"]] = np.sin(turn), np.cos(turn)
    device, country = (str(moment.context.get(name) or "").strip().lower() for name in ("device", "country"))
    out_FC[ROW["mobile"]], out_FC[ROW["desktop"]] = float(device in MOBILE), float(device in DESKTOP)
    out_FC[ROW["home country"]] = float(country != "" and country == home)
    out_FC[ROW["other country"]] = float(country not in ("", home))
