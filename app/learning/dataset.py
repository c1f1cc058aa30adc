"""From tables to arrays: who did what to which item, where, when and asked how. Shapes: E events, U users, N items, S scenarios,
Q queries."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from app.catalogue.shop_data import EventfulShop
from app.features.users import KINDS, collapse_runs
from app.feedback.event import EVENT_WEIGHTS, taste_kind
from app.learning.showings import SHOWN, ShowingLog, Showings, nothing_shown
from app.types import BoolArray, Float32Array, Int32Array, Int64Array

TARGET_WEIGHT = 1.0  # an event of at least this weight is something to predict; a weaker one (a view) is history only
SESSION_PREFIX = (
    "session\x1f"  # a guest without an account is a user of their own; no user id holds a control character
)
MAX_SCENARIOS = 200  # with parameters of their own; events of rarer names count for the whole shop
MAX_QUERIES, QUERY_LENGTH = 20_000, 200  # different ones that are kept, the first met, and characters of each
PIECE = {
    "user": pl.Int32,
    "at": pl.Float64,
    "item": pl.Int32,
    "kind": pl.Int32,
    "scenario": pl.Int32,
    "weight": pl.Float32,
    "query": pl.Int32,
}


@dataclass(frozen=True)
class Interactions:
    """Events in user order, then time (file order inside equal times). Impressions are left out.

    user_E, item_E: rows of user_ids, item_ids. scenario_E: rows of scenarios, whose row 0 is "" (none). at_E: unix seconds.
    weight_E: how much the event says as a training target, see EVENT_WEIGHTS. query_E: rows of queries, whose row 0 is "" (none):
    what the shopper had searched for, in lower case, where the event's context says so. shown: all that is known of what was shown,
    whatever part of the events this is.
    """

    user_ids: Sequence[str]
    item_ids: Sequence[str]
    scenarios: Sequence[str]
    user_E: Int32Array
    item_E: Int32Array
    kind_E: Int32Array
    scenario_E: Int32Array
    at_E: NDArray[np.float64]
    weight_E: Float32Array
    queries: Sequence[str]
    query_E: Int32Array
    shown: Showings = field(default_factory=nothing_shown)

    def __len__(self) -> int:
        return len(self.user_E)

    def where(self, keep_E: BoolArray) -> Interactions:
        return replace(
            self,
            user_E=self.user_E[keep_E],
            item_E=self.item_E[keep_E],
            kind_E=self.kind_E[keep_E],
            scenario_E=self.scenario_E[keep_E],
            at_E=self.at_E[keep_E],
            weight_E=self.weight_E[keep_E],
            query_E=self.query_E[keep_E],
        )

    @cached_property
    def starts_U1(self) -> Int64Array:
        """Events of user u are starts[u] : starts[u + 1]."""
        return np.searchsorted(self.user_E, np.arange(len(self.user_ids) + 1))

    def of(self, user: int) -> slice:
        return slice(int(self.starts_U1[user]), int(self.starts_U1[user + 1]))

    @cached_property
    def is_repeat_E(self) -> BoolArray:
        """True where the same user had an event of the same item before."""
        pair_E = self.user_E.astype(np.int64) * len(self.item_ids) + self.item_E
        repeat_E = np.ones(len(self), np.bool_)
        repeat_E[np.unique(pair_E, return_index=True)[1]] = False
        return repeat_E

    @cached_property
    def item_counts_N(self) -> Int64Array:
        """Target events of each item."""
        return np.bincount(self.item_E[self.is_target_E], minlength=len(self.item_ids)).astype(np.int64)

    @cached_property
    def is_target_E(self) -> BoolArray:
        return np.asarray(self.weight_E >= TARGET_WEIGHT)

    @cached_property
    def collapsed(self) -> Interactions:
        """Runs of one user on one item (view, click, purchase) as one event of the strongest kind: see `collapse_runs`. Of the
        queries in a run one stays."""
        last_E, kind_E = collapse_runs(self.item_E, self.kind_E, self.user_E)
        weight_E, query_E = self.weight_E, self.query_E
        if len(self):
            first_E = np.r_[0, last_E[:-1] + 1]
            weight_E, query_E = np.maximum.reduceat(weight_E, first_E), np.maximum.reduceat(query_E, first_E)
        keep_E = np.zeros(len(self), np.bool_)
        keep_E[last_E] = True
        return replace(self.where(keep_E), kind_E=kind_E, weight_E=weight_E, query_E=query_E)


class EventLog:
    """Reads events piece by piece into compact arrays: what has been read costs 32 bytes an event, and its ids and queries once each.

    Pieces come in time order. item_ids: the known items; events on others are left out.
    """

    def __init__(self, item_ids: pl.Series, event_weights: Mapping[str, float] | None = None) -> None:
        """event_weights: of types beyond EVENT_WEIGHTS (unknown ones weigh 1)."""
        self._items = item_ids.alias("item_id").to_frame().with_row_index("item")
        self._actors = pl.DataFrame(schema={"actor": pl.String, "user": pl.Int32})
        self._scenarios, self._queries = {"": 0}, {"": 0}
        self._weights = dict(EVENT_WEIGHTS) | dict(event_weights or {})
        self._pieces: list[pl.DataFrame] = []
        self._shown = ShowingLog()

    def add_slates(self, slates: pl.DataFrame) -> None:
        """slates: SLATE_SCHEMA, what the service itself has shown. To be added before the events, which may report the same."""
        self._shown.add(self._shown_of(slates, pl.col("device"), pl.col("country")))

    def _shown_of(self, rows: pl.DataFrame, device: pl.Expr, country: pl.Expr) -> pl.DataFrame:
        return (
            rows.lazy()
            .filter(pl.col("item_id").is_not_null(), pl.col("occurred_at").is_not_null())
            .select(
                actor=pl.coalesce("user_id", SESSION_PREFIX + pl.col("session_id")),
                item_id="item_id",
                at=pl.col("occurred_at").dt.epoch("us") / 1e6,
                scenario=pl.col("scenario").fill_null(""),
                slate="recommendation_id",
                position="position",
                device=device,
                country=country,
            )
            .filter(pl.col("actor").is_not_null())
            .join(self._items.lazy(), on="item_id", maintain_order="left")
            .select(pl.col(name).cast(kind) for name, kind in SHOWN.items())
            .collect()
        )

    def add(self, events: pl.DataFrame) -> None:
        """events: at least LOG_COLUMNS of EVENT_SCHEMA; the query as a column or in `context`, or in neither."""
        nothing = pl.lit(None, pl.String)
        self._shown.add(self._shown_of(events.filter(pl.col("type") == "impression"), nothing, nothing))
        events = (
            events.lazy()
            .filter(pl.col("type") != "impression", pl.col("item_id").is_not_null())
            .select(
                actor=pl.coalesce("user_id", SESSION_PREFIX + pl.col("session_id")),
                item_id="item_id",
                kind=taste_kind(pl.col("type"), pl.col("value")),
                scenario=pl.col("scenario").fill_null(""),
                at=(pl.col("occurred_at").dt.epoch("us") / 1e6).fill_null(-math.inf),
                query=_query_of(events.columns),
            )
            .filter(pl.col("actor").is_not_null())
            .join(self._items.lazy(), on="item_id", maintain_order="left")
            .collect()
        )
        self._number(events)
        self._pieces.append(
            events.join(self._actors, on="actor", maintain_order="left").select(
                "user",
                "at",
                item=pl.col("item").cast(pl.Int32),
                kind=pl.col("kind").replace_strict(KINDS, default=0, return_dtype=pl.Int32),
                scenario=pl.col("scenario").replace_strict(self._scenarios, return_dtype=pl.Int32),
                weight=pl.col("kind").replace_strict(self._weights, default=1.0, return_dtype=pl.Float32),
                query=pl.col("query").replace_strict(self._queries, default=0, return_dtype=pl.Int32),
            )
        )

    def _number(self, events: pl.DataFrame) -> None:
        """Rows for users, scenarios and queries that were not met before, in order of appearance."""
        new = events.select(pl.col("actor").unique(maintain_order=True)).join(
            self._actors, on="actor", how="anti", maintain_order="left"
        )
        numbers = pl.int_range(len(self._actors), len(self._actors) + len(new), dtype=pl.Int32, eager=True)
        self._actors = self._actors.vstack(new.with_columns(numbers.alias("user")))
        for name in events["scenario"].unique().to_list():
            self._scenarios.setdefault(name, len(self._scenarios))
        for query in events["query"].unique(maintain_order=True).to_list():
            if len(self._queries) <= MAX_QUERIES:
                self._queries.setdefault(query, len(self._queries))

    def interactions(self) -> Interactions:
        """Ends the reading."""
        columns = pl.concat(self._pieces) if self._pieces else pl.DataFrame(schema=PIECE)
        self._pieces.clear()
        scenarios = self._known_scenarios(columns["scenario"].to_numpy())
        row_of = {name: row for row, name in enumerate(scenarios)}
        scenario_rows = {name: row_of.get(name, 0) for name in self._scenarios}
        kind_names = {row: name for name, row in KINDS.items()}
        acts = columns.lazy().filter(pl.col("weight") >= TARGET_WEIGHT)
        shown = self._shown.showings(
            self._actors,
            scenario_rows,
            acts.select(
                "user", "item", "at", pl.col("kind").replace_strict(kind_names, default="", return_dtype=pl.String)
            ).collect(),
        )
        order_E = np.lexsort((columns["at"].to_numpy(), columns["user"].to_numpy()))
        sorted_columns = {}
        for name in PIECE:
            sorted_columns[name] = columns.drop_in_place(name).to_numpy()[order_E]
        place_S = np.asarray([*scenario_rows.values()], np.int32)
        at_E = sorted_columns["at"]
        at_E[np.isneginf(at_E)] = 0.0
        return Interactions(
            user_ids=self._actors["actor"].to_list(),
            item_ids=self._items["item_id"].to_list(),
            scenarios=scenarios,
            user_E=sorted_columns["user"],
            item_E=sorted_columns["item"],
            kind_E=sorted_columns["kind"],
            scenario_E=place_S[sorted_columns["scenario"]],
            at_E=at_E,
            weight_E=sorted_columns["weight"],
            queries=list(self._queries),
            query_E=sorted_columns["query"],
            shown=shown,
        )

    def _known_scenarios(self, number_E: NDArray[np.integer]) -> list[str]:
        """Sorted, "" first: those with most events. What is learned of a scenario has a place for every item."""
        names, count_S = [*self._scenarios], np.bincount(number_E, minlength=len(self._scenarios))
        most = np.argsort(-count_S, kind="stable")[:MAX_SCENARIOS]
        return sorted({"", *(names[place] for place in most.tolist())})


def _query_of(columns: Sequence[str]) -> pl.Expr:
    """Lower case, without blanks around, "" where there is none."""
    if "query" in columns:
        said = pl.col("query")
    elif "context" in columns:
        holds = pl.col("context").str.contains('"query"', literal=True)  # most contexts need not be parsed
        said = pl.when(holds).then(pl.col("context")).str.json_path_match("$.query")
    else:
        said = pl.lit(None, pl.String)
    return said.str.strip_chars().str.to_lowercase().str.head(QUERY_LENGTH).fill_null("")


def normal_query(query: str) -> str:
    """One query as `_query_of` reads it."""
    return query.strip().lower()[:QUERY_LENGTH]


def interactions(
    shop: EventfulShop,
    event_weights: Mapping[str, float] | None = None,
    keep: Callable[[pl.DataFrame], pl.DataFrame] | None = None,
) -> Interactions:
    """Events on known items, without those of users who did not consent to training. event_weights: see EventLog. keep: what is to be
    learned from of each piece."""
    log = EventLog(shop.items["item_id"], event_weights)
    refused = shop.users.filter(pl.col("train").eq(False))["user_id"]
    for piece in shop.pieces():
        given = piece if keep is None else keep(piece)
        log.add(given.filter(~pl.col("user_id").is_in(refused.implode()).fill_null(False)) if len(refused) else given)
    return log.interactions()
