"""What a reader gives: the three tables as the files have them, and the cells that could not be read."""

from __future__ import annotations

from dataclasses import dataclass

from app.catalogue.shop_data import ShopData


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Cells of one column that hold no number, time or whatever the column needs. done: what they became."""

    table: str  # items, users, events
    column: str
    count: int
    example: str
    done: str = "set to nothing"


@dataclass(frozen=True, slots=True)
class SkippedRows:
    """Rows that the reader of a native form leaves out on purpose, e.g. postage lines of an invoice."""

    table: str
    rule: str
    count: int


@dataclass(frozen=True, slots=True)
class RawShop:
    """data: events in file order; ids may be null, times too. `cleaning.clean` makes it fit for import."""

    data: ShopData
    format: str
    unreadable: tuple[Unreadable, ...] = ()
    skipped: tuple[SkippedRows, ...] = ()
