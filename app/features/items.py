"""What the item tower reads beside the text: category, brand and price as small integers.

A vocabulary is fitted on the training catalogue and travels in the manifest; a value it does not know is row 0, which the
tower has been trained to meet. Shapes: N items.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from app.catalogue.item import Item
from app.types import Int64Array

UNKNOWN = 0
MIN_COUNT = 3  # a value seen less often says nothing that the id does not
MAX_VALUES = 20_000
PRICE_BUCKETS = 16


@dataclass(frozen=True, slots=True)
class ItemFeatures:
    """Rows of the tower's embedding tables, int64 [N] each. category: whole path; department: its outermost part."""

    category_N: Int64Array
    department_N: Int64Array
    brand_N: Int64Array
    price_N: Int64Array


@dataclass(frozen=True, slots=True)
class ItemVocabulary:
    categories: tuple[str, ...]
    departments: tuple[str, ...]
    brands: tuple[str, ...]
    price_borders: tuple[
        float, ...
    ]  # quantiles of the known prices; the bucket is 1 + how many borders lie at or below

    @classmethod
    def fit(cls, items: Iterable[Item]) -> ItemVocabulary:
        items = list(items)
        prices = np.asarray([item.price for item in items if item.price is not None])
        quantiles = np.linspace(0, 1, PRICE_BUCKETS)[1:-1]
        borders = np.unique(np.quantile(prices, quantiles)) if len(prices) else np.empty(0)
        return cls(
            _frequent(" > ".join(item.category) for item in items),
            _frequent(item.category[0] if item.category else "" for item in items),
            _frequent(item.brand or "" for item in items),
            tuple(float(border) for border in borders),
        )

    def rows(self, items: Sequence[Item]) -> ItemFeatures:
        def look_up(values: Iterable[str], known: tuple[str, ...]) -> Int64Array:
            row_of = {value: row for row, value in enumerate(known, start=1)}
            return np.asarray([row_of.get(value, UNKNOWN) for value in values], np.int64)

        prices = np.asarray([np.nan if item.price is None else item.price for item in items], np.float64)
        buckets = 1 + np.searchsorted(np.asarray(self.price_borders), prices, side="right")
        return ItemFeatures(
            look_up((" > ".join(item.category) for item in items), self.categories),
            look_up((item.category[0] if item.category else "" for item in items), self.departments),
            look_up((item.brand or "" for item in items), self.brands),
            np.where(np.isnan(prices), UNKNOWN, buckets).astype(np.int64),
        )


def _frequent(values: Iterable[str]) -> tuple[str, ...]:
    counts = Counter(value for value in values if value)
    return tuple(value for value, count in counts.most_common(MAX_VALUES) if count >= MIN_COUNT)
