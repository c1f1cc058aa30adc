"""What an item is, as columns over the rows of the item space. Shapes: N trained items, M delta items, R = N + M rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from app.catalogue.item import Item
from app.features.items import UNKNOWN, ItemFeatures, ItemVocabulary
from app.types import Float32Array, Int32Array


@dataclass(frozen=True, slots=True, eq=False)
class ItemFacts:
    """price_R, log_price_R: NaN where there is none. category_R, department_R, brand_R: rows of the vocabulary, UNKNOWN for a value it does
    not know."""

    price_R: Float32Array
    log_price_R: Float32Array
    category_R: Int32Array
    department_R: Int32Array
    brand_R: Int32Array

    def __len__(self) -> int:
        return len(self.price_R)

    @classmethod
    def of_frame(cls, items: pl.DataFrame, vocabulary: ItemVocabulary) -> ItemFacts:
        """items: ITEM_SCHEMA. The same rows as `of_items` gives, without an object for each item."""

        def look_up(value: pl.Expr, known: Sequence[str]) -> Int32Array:
            row_of = {name: row for row, name in enumerate(known, start=1)}
            coded = items.select(
                value.replace_strict(row_of, default=UNKNOWN, return_dtype=pl.Int32).fill_null(UNKNOWN)
            )
            return coded.to_series().to_numpy().astype(np.int32)

        category = pl.col("category")
        return cls._of(
            items["price"].fill_null(np.nan).to_numpy(),
            look_up(category.list.join(" > "), vocabulary.categories),
            look_up(category.list.first(), vocabulary.departments),
            look_up(pl.col("brand"), vocabulary.brands),
        )

    @classmethod
    def of_items(cls, items: Sequence[Item], features: ItemFeatures) -> ItemFacts:
        """features: `ItemVocabulary.rows` of the items."""
        prices = np.asarray([np.nan if item.price is None else item.price for item in items], np.float64)
        return cls._of(prices, features.category_N, features.department_N, features.brand_N)

    def joined(self, other: ItemFacts) -> ItemFacts:
        """These rows, then the other's."""
        parts = zip(self._columns(), other._columns(), strict=True)
        return ItemFacts(*(np.concatenate(pair) for pair in parts))

    @classmethod
    def _of(
        cls, price_R: np.ndarray, category_R: np.ndarray, department_R: np.ndarray, brand_R: np.ndarray
    ) -> ItemFacts:
        known_R = np.isfinite(price_R) & (price_R >= 0)
        price_R = np.where(known_R, price_R, np.nan)
        return cls(
            price_R.astype(np.float32),
            np.log1p(price_R).astype(np.float32),
            *(np.asarray(column, np.int32) for column in (category_R, department_R, brand_R)),
        )

    def _columns(self) -> tuple[np.ndarray, ...]:
        return self.price_R, self.log_price_R, self.category_R, self.department_R, self.brand_R
