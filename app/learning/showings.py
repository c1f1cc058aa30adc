"""What was shown to whom at which place, and what they did with it: the service's own slates and what storefronts report.

Shapes: X shown items (one row for each item of each slate), H heads, U users.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from app.feedback.seen import SEEN_DAYS, SEEN_HALF_LIFE_SECONDS
from app.types import Float32Array, Int32Array, Int64Array

MAX_SHOWN = 500_000  # the newest that are kept
ACT_SECONDS = (
    86_400.0,
    7 * 86_400.0,
    7 * 86_400.0,
)  # how long after it a click, a cart addition, a purchase belongs to a showing
ACTS = (
    ("click", "cart_add", "purchase", "like", "share"),
    ("cart_add", "purchase"),
    ("purchase",),
)  # event kinds of each head
SHOWN = {
    "actor": pl.String, "item": pl.Int32, "at": pl.Float64, "scenario": pl.String, "slate": pl.String, "position": pl.Int32,
    "device": pl.String, "country": pl.String,
}  # fmt: skip
NEVER = np.inf


@dataclass(frozen=True)
class Showings:
    """In user order, then time, slate and place. user_X, item_X, scenario_X: rows as in `Interactions`. slate_X: equal inside a slate.
    position_X: 1-based, 0 where nobody says. acted_at_HX: unix seconds of the first click (or more), cart addition (or purchase) and
    purchase that followed, NEVER where there was none. place_X: row of `places`, (device, country)."""

    user_X: Int32Array
    item_X: Int32Array
    at_X: NDArray[np.float64]
    scenario_X: Int32Array
    slate_X: Int64Array
    position_X: Int32Array
    acted_at_HX: NDArray[np.float64]
    place_X: Int32Array
    places: Sequence[tuple[str, str]] = (("", ""),)

    def __len__(self) -> int:
        return len(self.user_X)

    def where(self, keep_X: NDArray[np.bool_] | Int64Array) -> Showings:
        return replace(
            self, user_X=self.user_X[keep_X], item_X=self.item_X[keep_X], at_X=self.at_X[keep_X],
            scenario_X=self.scenario_X[keep_X], slate_X=self.slate_X[keep_X], position_X=self.position_X[keep_X],
            acted_at_HX=self.acted_at_HX[:, keep_X], place_X=self.place_X[keep_X],
        )  # fmt: skip

    @cached_property
    def _starts(self) -> Int64Array:
        users = int(self.user_X[-1]) + 1 if len(self) else 0
        return np.searchsorted(self.user_X, np.arange(users + 1))

    @property
    def home(self) -> str:
        """The most frequent country in lower case, "" where none was said."""
        counts = np.bincount(self.place_X, minlength=len(self.places))
        by_country: dict[str, int] = {}
        for (_, country), count in zip(self.places, counts.tolist(), strict=True):
            name = country.strip().lower()
            by_country[name] = by_country.get(name, 0) + (count if name else 0)
        return max(by_country, key=by_country.__getitem__, default="")

    def of(self, user: int) -> slice:
        if user + 1 >= len(self._starts):
            return slice(0, 0)
        return slice(int(self._starts[user]), int(self._starts[user + 1]))

    def seen(
        self, user: int, now: float, item_E: NDArray[np.integer], at_E: NDArray[np.float64]
    ) -> tuple[Int64Array, Float32Array]:
        """Items that the user was shown before `now` without an act on them since, and how often, halved every week: as the live state
        counts. item_E, at_E: the user's acts before now."""
        whose = self.of(user)
        at_X = self.at_X[whose]
        recent_X = (at_X < now) & (at_X >= now - SEEN_DAYS * 86_400.0)
        items, place_X = np.unique(self.item_X[whose][recent_X], return_inverse=True)
        at_X = at_X[recent_X]
        acted = np.full(len(items), -np.inf)
        known_E = np.isin(item_E, items)
        np.maximum.at(acted, np.searchsorted(items, item_E[known_E]), at_E[known_E])
        weight_X = np.where(at_X > acted[place_X], 2.0 ** ((at_X - now) / SEEN_HALF_LIFE_SECONDS), 0.0)
        times = np.bincount(place_X, weight_X, len(items))
        kept = times > 0
        return items[kept].astype(np.int64), times[kept].astype(np.float32)


def nothing_shown() -> Showings:
    rows, times = np.empty(0, np.int32), np.empty(0, np.float64)
    return Showings(rows, rows, times, rows, np.empty(0, np.int64), rows, np.empty((len(ACTS), 0)), rows)


class ShowingLog:
    """Reads showings piece by piece; the newest MAX_SHOWN stay."""

    def __init__(self) -> None:
        self._pieces: list[pl.DataFrame] = []
        self._size = 0

    def add(self, shown: pl.DataFrame) -> None:
        """shown: SHOWN, in time order within the kind of log it comes from."""
        self._pieces.append(shown)
        self._size += len(shown)
        if self._size > 2 * MAX_SHOWN:
            newest = pl.concat(self._pieces).sort("at", maintain_order=True).tail(MAX_SHOWN)
            self._pieces, self._size = [newest], len(newest)

    def showings(self, users: pl.DataFrame, scenarios: dict[str, int], acts: pl.DataFrame) -> Showings:
        """users: `actor` and `user`. scenarios: name -> row; a new one gets a row of the shop's. acts: `user`, `item`, `kind` (name), `at`."""
        if not self._size:
            return nothing_shown()
        frame = pl.concat(self._pieces).sort("at", maintain_order=True).tail(MAX_SHOWN)
        self._pieces.clear()
        frame = (
            frame.join(users, on="actor", how="inner")
            .with_columns(pl.coalesce("slate", pl.format("{} {}", "actor", "at")).alias("slate"))
            .unique(["slate", "item"], keep="first", maintain_order=True)
            .with_columns(
                pl.col("slate").rank("dense").cast(pl.Int64),
                pl.col("scenario").replace_strict(scenarios, default=0, return_dtype=pl.Int32),
                pl.col("position").fill_null(0).clip(0, 32_767),
                place=pl.struct(pl.col("device").fill_null(""), pl.col("country").fill_null("")),
            )
            .sort("user", "at", "slate", "position", maintain_order=True)
            .with_row_index("row")
        )
        places = frame["place"].unique(maintain_order=True)
        return Showings(
            user_X=frame["user"].to_numpy(),
            item_X=frame["item"].to_numpy(),
            at_X=frame["at"].to_numpy(),
            scenario_X=frame["scenario"].to_numpy(),
            slate_X=frame["slate"].to_numpy(),
            position_X=frame["position"].to_numpy(),
            acted_at_HX=np.stack([_acted_at(frame, acts, *head) for head in zip(ACTS, ACT_SECONDS, strict=True)]),
            place_X=_numbered(frame["place"], places),
            places=[(place["device"], place["country"]) for place in places.to_list()],
        )


def _numbered(values: pl.Series, known: pl.Series) -> Int32Array:
    numbers = known.alias("value").to_frame().with_row_index("number")
    return (
        values.alias("value")
        .to_frame()
        .join(numbers, on="value", maintain_order="left")["number"]
        .to_numpy()
        .astype(np.int32)
    )


def _acted_at(frame: pl.DataFrame, acts: pl.DataFrame, kinds: Sequence[str], seconds: float) -> NDArray[np.float64]:
    """float64 [X]: an act belongs to the last showing of its item to that shopper before it, if that is no longer ago than `seconds`."""
    wanted = acts.filter(pl.col("kind").is_in(kinds)).select("user", "item", "at", done="at").sort("at")
    shown = frame.select("row", "user", "item", "at").sort("at")
    found = wanted.join_asof(
        shown, on="at", by=["user", "item"], strategy="backward", tolerance=seconds, check_sortedness=False
    )
    first = found.drop_nulls("row").group_by("row").agg(pl.col("done").min())
    acted_X = np.full(len(frame), NEVER)
    acted_X[first["row"].to_numpy()] = first["done"].to_numpy()
    return acted_X
