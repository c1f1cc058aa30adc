"""A parsed filter: what one clause means, evaluated over columns of items at once.

Shapes: N items, A items that have the attribute asked for. Two-valued throughout: a property that is missing, or of
another kind than the value, matches only `ne`, `not_in` and `exists: false`; `not` is the plain complement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import and_, or_
from typing import Literal, Protocol

import numpy as np
import polars as pl

from app.catalogue.item import Item
from app.errors import Invalid
from app.retrieval.columns import Columns
from app.retrieval.item_fields import (
    AGE_DAYS,
    ATTRIBUTE_PREFIX,
    FIELD_KINDS,
    MICROSECONDS_PER_DAY,
    Kind,
    element_key,
    microseconds,
    property_of,
    scalar_of,
)
from app.types import BoolArray

Operator = Literal["eq", "ne", "lt", "lte", "gt", "gte", "in", "not_in", "contains", "exists"]
MATCHES_MISSING: tuple[Operator, ...] = ("ne", "not_in")


class Node(Protocol):
    def mask(self, columns: Columns, now: datetime, context_item: Item | None) -> BoolArray:
        """bool [N]. Raises Invalid("filter_context_item_missing")."""


@dataclass(frozen=True, slots=True)
class All:
    parts: Sequence[Node]

    def mask(self, columns: Columns, now: datetime, context_item: Item | None) -> BoolArray:
        return reduce(and_, (part.mask(columns, now, context_item) for part in self.parts))


@dataclass(frozen=True, slots=True)
class Any:
    parts: Sequence[Node]

    def mask(self, columns: Columns, now: datetime, context_item: Item | None) -> BoolArray:
        return reduce(or_, (part.mask(columns, now, context_item) for part in self.parts))


@dataclass(frozen=True, slots=True)
class Not:
    part: Node

    def mask(self, columns: Columns, now: datetime, context_item: Item | None) -> BoolArray:
        return ~self.part.mask(columns, now, context_item)


@dataclass(frozen=True, slots=True)
class ContextItem:
    """Stands for a value: that property of the viewed item."""

    field: str
    loc: tuple[str | int, ...]

    def value(self, context_item: Item | None, now: datetime) -> object:
        if context_item is None:
            raise Invalid(
                f"the filter compares with the viewed item's {self.field!r}; name it in context_items",
                code="filter_context_item_missing",
                loc=self.loc,
            )
        return property_of(context_item, self.field, now)


@dataclass(frozen=True, slots=True)
class Clause:
    """value: a scalar, a time, a list of them, or a ContextItem; None (a context item without the property) is missing."""

    field: str
    operator: Operator
    value: object

    def mask(self, columns: Columns, now: datetime, context_item: Item | None) -> BoolArray:
        """Remembered beside the columns, by field, operator and value, which the viewed item may give; an age changes with the clock
        and is not."""
        value = self.value.value(context_item, now) if isinstance(self.value, ContextItem) else self.value
        if self.field == AGE_DAYS:
            return self._made(columns, now, value)
        key = (
            self.field,
            self.operator,
            repr(value),
        )  # of JSON values and times, equal only for equal ones of one kind
        return columns.masks.get(key, lambda: self._made(columns, now, value))

    def _made(self, columns: Columns, now: datetime, value: object) -> BoolArray:
        if not self.field.startswith(ATTRIBUTE_PREFIX):
            return _evaluate(columns.plain, _plain_column(self.field, now), self.field, self.operator, value)
        missing = self.operator in MATCHES_MISSING or (self.operator == "exists" and not value)
        mask_N = np.full(len(columns), missing)
        column = columns.attributes.get(self.field.removeprefix(ATTRIBUTE_PREFIX))
        if column is not None:
            mask_N[column.rows_A] = _evaluate(column.values, None, self.field, self.operator, value)
        return mask_N


def _plain_column(field: str, now: datetime) -> pl.Expr:
    if field != AGE_DAYS:
        return pl.col(field)
    return (microseconds(now) - pl.coalesce("published_at", "created_at")) / MICROSECONDS_PER_DAY


def _evaluate(frame: pl.DataFrame, column: pl.Expr | None, field: str, operator: Operator, value: object) -> BoolArray:
    """column: the plain column; None for an attribute, where the value's kind picks the column."""
    if operator == "exists":
        there = pl.lit(True) if column is None else column.is_not_null()
        match = there if value else ~there
    elif operator in ("ne", "not_in"):
        match = ~_positive(column, field, "eq" if operator == "ne" else "in", value)
    else:
        match = _positive(column, field, operator, value)
    mask = frame.select(match.alias("match")).to_series().to_numpy()
    return mask if len(mask) == frame.height else np.full(frame.height, bool(mask[0]))


def _positive(column: pl.Expr | None, field: str, operator: Operator, value: object) -> pl.Expr:
    """Never null; false where the property is missing or of another kind than the value."""
    if operator == "in":
        return _is_in(column, field, value if isinstance(value, list | tuple) else [value])
    if operator == "contains" or isinstance(value, list | tuple):
        if column is not None and FIELD_KINDS[field] != "list":
            return pl.lit(False)
        return _match_list(pl.col("list") if column is None else column, column is None, operator, value)
    scalar = scalar_of(value)
    if scalar is None or not _fits(column, field, scalar[0]):
        return pl.lit(False)
    left = pl.col(scalar[0]) if column is None else column
    right = pl.lit(scalar[1])
    match operator:
        case "eq":
            compared = left == right
        case "lt":
            compared = left < right
        case "lte":
            compared = left <= right
        case "gt":
            compared = left > right
        case _:
            compared = left >= right
    return compared.fill_null(False)


def _fits(column: pl.Expr | None, field: str, kind: Kind) -> bool:
    return kind in ("string", "number", "bool") if column is None else FIELD_KINDS[field] == kind


def _is_in(column: pl.Expr | None, field: str, values: Sequence[object]) -> pl.Expr:
    by_kind: dict[Kind, list[object]] = {}
    for scalar in map(scalar_of, values):
        if scalar is not None and _fits(column, field, scalar[0]):
            by_kind.setdefault(scalar[0], []).append(scalar[1])
    matches = (
        (pl.col(kind) if column is None else column).is_in(options).fill_null(False)
        for kind, options in by_kind.items()
    )
    return reduce(or_, matches, pl.lit(False))


def _match_list(left: pl.Expr, is_attribute: bool, operator: Operator, value: object) -> pl.Expr:
    """contains: the list holds the value. eq: the same elements in the same order."""

    def key(element: object) -> str | None:
        return element_key(element) if is_attribute else element if isinstance(element, str) else None

    if operator == "contains":
        return pl.lit(False) if key(value) is None else left.list.contains(key(value)).fill_null(False)
    if operator != "eq" or not isinstance(value, list | tuple):
        return pl.lit(False)
    elements = (left.list.get(i, null_on_oob=True) == key(element) for i, element in enumerate(value))
    return reduce(and_, elements, left.list.len() == len(value)).fill_null(False)
