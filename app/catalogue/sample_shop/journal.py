"""Collects what happens in the sample shop as arrays, and writes it as events."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl

from app.catalogue.sample_shop.products import CURRENCY, Products
from app.catalogue.shop_data import EVENT_SCHEMA, TIME
from app.types import BoolArray, Float32Array, Int64Array

_SECOND = 1 / 86_400
_CHECK_OUT_RATIO = 0.55


class Journal:
    def __init__(self) -> None:
        self._parts: list[pl.DataFrame] = []
        self._carts: list[pl.DataFrame] = []
        self._num_slates = 0

    def add(
        self, kind: str, user: Int64Array, item: Int64Array, visit: Int64Array, day: Float32Array, scenario: str | None
    ) -> None:
        self._add(kind, user, item, visit, day, scenario)

    def add_slate(
        self, scenario: str, user: Int64Array, visit: Int64Array, day: Float32Array, shown_VK: Int64Array,
        looked_at: BoolArray, clicked: BoolArray, carted: BoolArray, notes: list[str] | None,
    ) -> None:  # fmt: skip
        """Impressions of what was looked at, then clicks, then what went into the cart, some seconds apart."""
        slate = self._num_slates + np.arange(len(user))
        self._num_slates += len(user)
        note = pl.Series(notes or [None] * len(user), dtype=pl.String)
        for kind, chosen, delay in (("impression", looked_at, 0), ("click", clicked, 20), ("cart_add", carted, 50)):
            v, k = np.nonzero(chosen)
            at = day[v].astype(np.float64) + (delay + 9 * k * (delay > 0)) * _SECOND
            self._add(kind, user[v], shown_VK[v, k], visit[v], at, scenario, slate[v], k + 1, note.gather(v))
        self._carts.append(self._parts[-1])

    def _add(
        self, kind: str, user: Int64Array, item: Int64Array, visit: Int64Array, day: np.ndarray, scenario: str | None,
        slate: Int64Array | None = None, position: Int64Array | None = None, context: pl.Series | None = None,
        value: np.ndarray | None = None, quantity: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        size = len(user)
        nothing = pl.Series([None], dtype=pl.Int64).new_from_index(0, size)
        self._parts.append(
            pl.DataFrame({
                "type": pl.Series([kind], dtype=pl.String).new_from_index(0, size),
                "user": user.astype(np.int64),
                "item": item.astype(np.int64),
                "visit": visit.astype(np.int64),
                "day": day.astype(np.float64),
                "scenario": pl.Series([scenario], dtype=pl.String).new_from_index(0, size),
                "slate": nothing if slate is None else slate.astype(np.int64),
                "position": nothing if position is None else position.astype(np.int64),
                "context": nothing.cast(pl.String) if context is None else context,
                "value": nothing.cast(pl.Float64) if value is None else value,
                "quantity": nothing.cast(pl.Float64) if quantity is None else quantity,
            })
        )  # fmt: skip

    def check_out(
        self, visits: Int64Array, products: Products, rng: np.random.Generator, tired_UN: Float32Array
    ) -> None:
        """At the end of these visits more than half of the carts are bought, at the scenario each item came from."""
        carts = pl.concat(self._carts)
        self._carts = []
        bought_visits = visits[rng.random(len(visits)) < _CHECK_OUT_RATIO + 0.2]
        bought = carts.filter(pl.col("visit").is_in(bought_visits.tolist())).unique(
            ["visit", "item"], maintain_order=True
        )
        bought = bought.filter(pl.Series(rng.random(len(bought)) < 0.85, dtype=pl.Boolean))
        user, item = bought["user"].to_numpy(), bought["item"].to_numpy()
        used_up = products.used_up[item]
        quantity = np.where(used_up, 1.0 + rng.poisson(0.6, len(item)), 1.0)
        self._add(
            "purchase", user, item, bought["visit"].to_numpy(), bought["day"].to_numpy() + 15 / 1440, None,
            bought["slate"].to_numpy(), bought["position"].to_numpy(), bought["context"],
            np.round(products.price[item].astype(np.float64) * quantity, 2), quantity,
        )  # fmt: skip
        self._parts[-1] = self._parts[-1].with_columns(bought["scenario"])
        np.add.at(tired_UN, (user, item), np.where(used_up, -0.6, 4.0))

    def frame(self, user_ids: tuple[str, ...], item_ids: tuple[str, ...], start: datetime) -> pl.DataFrame:
        """Rows of EVENT_SCHEMA in time order. Ids count up in that order."""
        events = pl.concat(self._parts).sort("day", maintain_order=True).with_row_index("number", offset=1)
        users, items = pl.Series(user_ids), pl.Series(item_ids)
        seconds = (pl.col("day") * 86_400).round().cast(pl.Int64)
        number = pl.col("number").cast(pl.String)
        is_purchase = pl.col("type") == "purchase"
        return events.select(
            (pl.lit("ev-") + number.str.zfill(7)).alias("event_id"),
            "type",
            items.gather(events["item"]).alias("item_id"),
            users.gather(events["user"]).alias("user_id"),
            (pl.lit("visit-") + pl.col("visit").cast(pl.String).str.zfill(6)).alias("session_id"),
            "scenario",
            (pl.lit("rec-") + pl.col("slate").cast(pl.String).str.zfill(6)).alias("recommendation_id"),
            pl.col("position").cast(pl.Int32),
            "value",
            "quantity",
            pl.when(is_purchase).then(pl.lit(CURRENCY)).alias("currency"),
            pl.when(is_purchase)
            .then(pl.lit("order-") + pl.col("visit").cast(pl.String).str.zfill(6))
            .alias("order_id"),
            (pl.lit(start, TIME) + pl.duration(seconds=seconds)).alias("occurred_at"),
            "context",
        ).match_to_schema(EVENT_SCHEMA)
