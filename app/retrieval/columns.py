"""Items as columns, for filters and visibility over a whole catalogue at once.

Shapes: N items, A items that have a certain attribute. Built once per catalogue change and never altered.
Attributes are schema-less, so each is a sparse column that costs what the shop put in, not items x names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import orjson
import polars as pl

from app.catalogue.item import LIST_ITEM_FIELDS, PLAIN_ITEM_FIELDS, Item
from app.catalogue.records import frame_of, items_of
from app.pauses import Pause, no_pause
from app.retrieval.item_fields import TIME_FIELDS, element_key, microseconds, scalar_of
from app.retrieval.mask_cache import MaskCache
from app.types import Attributes, BoolArray, Int64Array

ROWS_AT_ONCE = 1_000  # of attributes read between two pauses: some milliseconds
_NEVER = np.iinfo(np.int64).max
_ALWAYS = np.iinfo(np.int64).min
_ATTRIBUTE_SCHEMA = pl.Schema(
    {"number": pl.Float64(), "string": pl.String(), "bool": pl.Boolean(), "list": pl.List(pl.String())}
)


@dataclass(frozen=True, slots=True)
class AttributeColumn:
    """rows_A: the items that have it, rising. values: one row for each of them, filled in the column of its kind.

    A value of another kind (an object) stands as a row of nulls: it exists and equals nothing.
    """

    rows_A: Int64Array
    values: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Columns:
    """items: ITEM_SCHEMA. plain: the same rows with times as microseconds since 1970 and empty lists as null."""

    items: pl.DataFrame
    plain: pl.DataFrame
    attributes: Mapping[str, AttributeColumn]
    available_N: BoolArray
    published_us_N: Int64Array
    expires_us_N: Int64Array
    since_us_N: Int64Array  # in the shop since: published_at, else created_at
    masks: MaskCache = field(
        default_factory=MaskCache, compare=False
    )  # of clauses over these columns, which never change

    def __len__(self) -> int:
        return self.items.height

    @classmethod
    def from_frame(cls, items: pl.DataFrame, pause: Pause = no_pause) -> Columns:
        """items: ITEM_SCHEMA. Cost: 0.2 s for 100,000 items, nearly all of it the JSON of attributes."""
        times = [pl.col(name).dt.timestamp("us") for name in TIME_FIELDS]
        lists = [
            pl.when(pl.col(name).list.len() > 0).then(pl.col(name)).otherwise(None).alias(name)
            for name in LIST_ITEM_FIELDS
        ]
        plain = items.select(*PLAIN_ITEM_FIELDS, *LIST_ITEM_FIELDS).with_columns(*times, *lists)
        return cls(
            items=items,
            plain=plain,
            attributes=_attribute_columns(items["attributes"], pause),
            available_N=items["available"].fill_null(True).to_numpy(),
            published_us_N=plain["published_at"].fill_null(_ALWAYS).to_numpy(),
            expires_us_N=plain["expires_at"].fill_null(_NEVER).to_numpy(),
            since_us_N=plain.select(pl.coalesce("published_at", "created_at"))
            .to_series()
            .fill_null(_ALWAYS)
            .to_numpy(),
        )

    @classmethod
    def from_items(cls, items: Sequence[Item]) -> Columns:
        return cls.from_frame(frame_of(items))

    def visible(self, now: datetime) -> BoolArray:
        """bool [N]: available, published and not expired at `now`."""
        now_us = microseconds(now)
        return self.available_N & (self.published_us_N <= now_us) & (self.expires_us_N > now_us)

    def visible_until(self, now: datetime) -> int:
        """Microseconds: when the next of the items is published or expires, so that `visible` may say something else."""
        now_us = microseconds(now)
        later = (times_N[times_N > now_us].min(initial=_NEVER) for times_N in (self.published_us_N, self.expires_us_N))
        return int(min(later))

    def items_at(self, rows: Sequence[int] | Int64Array) -> list[Item]:
        return items_of(self.items[rows])


def _parse(attributes: str | None) -> Attributes:
    if not attributes:
        return {}
    parsed = orjson.loads(attributes)
    return parsed if isinstance(parsed, dict) else {}


def _attribute_columns(texts: Iterable[str | None], pause: Pause) -> Mapping[str, AttributeColumn]:
    rows: dict[str, list[int]] = {}
    values: dict[str, list[dict[str, object]]] = {}
    for row, text in enumerate(texts):
        if row % ROWS_AT_ONCE == 0:
            pause()
        for name, value in _parse(text).items():
            if value is not None and value != []:
                rows.setdefault(name, []).append(row)
                values.setdefault(name, []).append(_typed(value))
    return {
        name: AttributeColumn(np.asarray(rows[name], np.int64), pl.DataFrame(values[name], schema=_ATTRIBUTE_SCHEMA))
        for name in rows
    }


def _typed(value: object) -> dict[str, object]:
    if isinstance(value, list):
        return {"list": [element_key(element) for element in value]}
    scalar = scalar_of(value)
    return {} if scalar is None else {scalar[0]: scalar[1]}
