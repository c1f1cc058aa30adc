"""The duoscene layout: a folder with `items`, `users` and `events`, each as Parquet, CSV or JSON Lines."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from app.catalogue.readers.conform import conform
from app.catalogue.readers.raw_shop import RawShop, Unreadable
from app.catalogue.readers.table import SUFFIXES, read_table
from app.catalogue.shop_data import EVENT_SCHEMA, ITEM_SCHEMA, USER_SCHEMA, ShopData
from app.errors import BadData
from app.types import Progress, no_progress

_SCHEMAS = {"items": ITEM_SCHEMA, "users": USER_SCHEMA, "events": EVENT_SCHEMA}


def find_table(folder: Path, table: str) -> Path | None:
    """Parquet before its CSV or JSON Lines twin."""
    candidates = (folder / f"{table}{suffix}" for suffix in SUFFIXES)
    return next((path for path in candidates if path.is_file()), None)


def is_duoscene(folder: Path) -> bool:
    return any(find_table(folder, table) for table in _SCHEMAS)


def read_duoscene(folder: Path, progress: Progress = no_progress) -> RawShop:
    """A missing `items` or `users` file: one bare row for each id in the events. Raises BadData."""
    if not is_duoscene(folder):
        raise BadData(f"{folder.name}: no items, users or events file (.parquet, .csv, .jsonl) in this folder")
    frames: dict[str, pl.DataFrame] = {}
    unreadable: list[Unreadable] = []
    for done, (table, schema) in enumerate(_SCHEMAS.items(), start=1):
        path = find_table(folder, table)
        if path is None:
            frames[table] = schema.to_frame()
            continue
        frames[table], problems = conform(read_table(path), table, path.name)
        unreadable += problems
        progress("reading", done / len(_SCHEMAS), f"{path.name}: {len(frames[table]):,} rows")
    for table, key in (("items", "item_id"), ("users", "user_id")):
        if find_table(folder, table) is None:
            frames[table] = rows_for_ids(frames["events"][key], table)
    return RawShop(ShopData(**frames), "duoscene", tuple(unreadable))


def rows_for_ids(ids: pl.Series, table: str) -> pl.DataFrame:
    """A row with nothing but its id for each different id, in order of first appearance."""
    known = ids.drop_nulls().unique(maintain_order=True)
    return conform(known.to_frame(), table, table)[0]
