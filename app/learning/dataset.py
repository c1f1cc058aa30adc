"""From tables to arrays: who did what to which item, where and when. Shapes: E events, U users, N items, S scenarios."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from app.catalogue.shop_data import ShopData
from app.features.users import KINDS, collapse_runs
from app.feedback.event import EVENT_WEIGHTS, taste_kind
from app.types import BoolArray, Float32Array, Int32Array, Int64Array

TARGET_WEIGHT = 1.0  # an event of at least this weight is something to predict; a weaker one (a view) is history only
SESSION_PREFIX = (
    "session\x1f"  # a guest without an account is a user of their own; no user id holds a control character
)


@dataclass(frozen=True)
class Interactions:
    """Events in user order, then time (file order inside equal times). Impressions are left out.

    user_E, item_E: rows of user_ids, item_ids. scenario_E: rows of scenarios, whose row 0 is "" (none). at_E: unix seconds.
    weight_E: how much the event says as a training target, see EVENT_WEIGHTS.
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
        """Runs of one user on one item (view, click, purchase) as one event of the strongest kind: see `collapse_runs`."""
        last_E, kind_E = collapse_runs(self.item_E, self.kind_E, self.user_E)
        weight_E = np.maximum.reduceat(self.weight_E, np.r_[0, last_E[:-1] + 1]) if len(self) else self.weight_E
        keep_E = np.zeros(len(self), np.bool_)
        keep_E[last_E] = True
        return replace(self.where(keep_E), kind_E=kind_E, weight_E=weight_E)


def interactions(data: ShopData, event_weights: dict[str, float] | None = None) -> Interactions:
    """Events on known items; event_weights: of types beyond EVENT_WEIGHTS (unknown ones weigh 1)."""
    weights = dict(EVENT_WEIGHTS) | (event_weights or {})
    events = (
        data.events.lazy()
        .filter(pl.col("type") != "impression", pl.col("item_id").is_not_null())
        .select(
            actor=pl.coalesce("user_id", SESSION_PREFIX + pl.col("session_id")),
            item_id="item_id",
            kind=taste_kind(pl.col("type"), pl.col("value")),
            scenario=pl.col("scenario").fill_null(""),
            at=pl.col("occurred_at").dt.epoch("us") / 1e6,
        )
        .filter(pl.col("actor").is_not_null())
        .join(data.items.lazy().select("item_id").with_row_index("item"), on="item_id", maintain_order="left")
        .collect()
    )
    user_ids = events["actor"].unique(maintain_order=True)
    scenarios = ["", *sorted(name for name in events["scenario"].unique().to_list() if name)]
    events = (
        events.lazy()
        .join(user_ids.to_frame("actor").with_row_index("user").lazy(), on="actor", maintain_order="left")
        .sort("user", "at", maintain_order=True, nulls_last=False)
        .collect()
    )
    kinds = events["kind"]
    return Interactions(
        user_ids=user_ids.to_list(),
        item_ids=data.items["item_id"].to_list(),
        scenarios=scenarios,
        user_E=events["user"].to_numpy().astype(np.int32),
        item_E=events["item"].to_numpy().astype(np.int32),
        kind_E=kinds.replace_strict(KINDS, default=0, return_dtype=pl.Int32).to_numpy(),
        scenario_E=events["scenario"]
        .replace_strict({name: row for row, name in enumerate(scenarios)}, return_dtype=pl.Int32)
        .to_numpy(),
        at_E=events["at"].fill_null(0.0).to_numpy(),
        weight_E=kinds.replace_strict(weights, default=1.0, return_dtype=pl.Float32).to_numpy(),
    )
