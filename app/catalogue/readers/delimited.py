"""One CSV, TSV, JSON Lines or Parquet file of anyone's making, with a mapping from our fields to its columns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from app.catalogue.readers.conform import conform
from app.catalogue.readers.duoscene import rows_for_ids
from app.catalogue.readers.raw_shop import RawShop
from app.catalogue.readers.table import read_table
from app.catalogue.shop_data import EVENT_SCHEMA, ITEM_SCHEMA, USER_SCHEMA, ShopData
from app.errors import BadData
from app.types import Progress, no_progress

_FIELDS = {*ITEM_SCHEMA, *USER_SCHEMA, *EVENT_SCHEMA, "event", "timestamp"}


def read_delimited_shop(
    path: Path, mapping: Mapping[str, str] | None = None, progress: Progress = no_progress
) -> RawShop:
    """mapping: our field -> the file's column, or "=word" for a word that holds for every row (`event` -> "=purchase").

    What the file holds follows from its fields: item_id beside user_id or session_id is events, item_id alone is items,
    user_id alone is users. Raises BadData.
    """
    frame = _rename(read_table(path), mapping or {}, path.name)
    table = _which_table(frame.columns, path.name)
    rows, unreadable = conform(frame, table, path.name)
    progress("reading", 1.0, f"{path.name}: {len(rows):,} {table}")
    tables = {"items": ITEM_SCHEMA.to_frame(), "users": USER_SCHEMA.to_frame(), "events": EVENT_SCHEMA.to_frame()}
    tables[table] = rows
    if table == "events":
        tables["items"] = rows_for_ids(rows["item_id"], "items")
        tables["users"] = rows_for_ids(rows["user_id"], "users")
    return RawShop(ShopData(**tables), path.suffix[1:].lower(), tuple(unreadable))


def _rename(frame: pl.DataFrame, mapping: Mapping[str, str], file: str) -> pl.DataFrame:
    for field, column in mapping.items():
        if field not in _FIELDS:
            raise BadData(f"--map {field}={column}: there is no field {field}; fields are {', '.join(sorted(_FIELDS))}")
        if column.startswith("="):
            frame = frame.with_columns(pl.lit(column[1:]).alias(field))
            continue
        if column not in frame.columns:
            raise BadData(f"--map {field}={column}: {file} has no column {column}; it has {', '.join(frame.columns)}")
        if field != column and field in frame.columns:
            frame = frame.rename({field: f"{field}_"})
        frame = frame.rename({column: field})
    return frame


def _which_table(columns: list[str], file: str) -> str:
    if "item_id" in columns:
        return "events" if {"user_id", "session_id"} & set(columns) else "items"
    if "user_id" in columns:
        return "users"
    raise BadData(
        f"{file}: no column item_id or user_id; it has {', '.join(columns)}. "
        "Name the columns, e.g. --map item_id=product --map user_id=customer --map event=action --map timestamp=time"
    )
