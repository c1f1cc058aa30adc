"""The duoscene layout: a folder with `items`, `users` and `events`, each as Parquet, CSV or JSON Lines."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import cast

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from app.catalogue.readers.conform import conform
from app.catalogue.readers.raw_shop import RawShop, Unreadable
from app.catalogue.readers.table import SUFFIXES, read_table
from app.catalogue.shop_data import (
    EVENT_SCHEMA,
    ITEM_SCHEMA,
    LOG_COLUMNS,
    PIECE_ROWS,
    USER_SCHEMA,
    EventfulShop,
    ShopData,
    StreamedShop,
)
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


def open_duoscene(folder: Path, progress: Progress = no_progress) -> EventfulShop:
    """As `read_duoscene`, but events of a Parquet file are read piece by piece, only what learning needs of them."""
    events = find_table(folder, "events")
    described = find_table(folder, "items") is not None and find_table(folder, "users") is not None
    if events is None or not described or not is_plainly_typed(events):
        return read_duoscene(folder, progress).data
    frames = {}
    for table in ("items", "users"):
        path = cast(Path, find_table(folder, table))
        frames[table], _ = conform(read_table(path), table, path.name)
        progress("reading", 0.0, f"{path.name}: {len(frames[table]):,} rows")
    return StreamedShop(frames["items"], frames["users"], partial(event_pieces, events, progress))


def is_plainly_typed(path: Path) -> bool:
    """A Parquet file whose cells need no look at their neighbours to be understood: what `event_pieces` can read."""
    if path.suffix.lower() != ".parquet":
        return False
    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowException):
        return False  # the reader of whole tables says what is wrong
    kinds = {field.name: field.type for field in schema if not pa.types.is_null(field.type)}
    ids = ("user_id", "item_id", "session_id", "scenario", "event", "type", "query")
    fits = [is_text(kinds[name]) or pa.types.is_integer(kinds[name]) for name in ids if name in kinds]
    fits += [pa.types.is_timestamp(kinds[name]) for name in ("timestamp", "occurred_at") if name in kinds]
    fits += [
        pa.types.is_integer(kinds[name]) or pa.types.is_floating(kinds[name]) for name in ("value",) if name in kinds
    ]
    return all(fits)


def is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def event_pieces(path: Path, progress: Progress = no_progress) -> Iterator[pl.DataFrame]:
    """LOG_COLUMNS of a Parquet file of events, and its queries in `context`, PIECE_ROWS rows at a time. Raises BadData."""
    wanted = {*LOG_COLUMNS, "event", "timestamp", "query"}
    done = 0
    with pq.ParquetFile(path) as file:
        columns = [name for name in file.schema_arrow.names if name in wanted]
        for batch in file.iter_batches(PIECE_ROWS, columns=columns, use_threads=False):
            done += len(batch)
            yield conform(cast(pl.DataFrame, pl.from_arrow(batch)), "events", path.name)[0].select(
                *LOG_COLUMNS, "context"
            )
            progress("reading", done / file.metadata.num_rows)
    progress("reading", 1.0, f"{path.name}: {done:,} rows")


def rows_for_ids(ids: pl.Series, table: str) -> pl.DataFrame:
    """A row with nothing but its id for each different id, in order of first appearance."""
    known = ids.drop_nulls().unique(maintain_order=True)
    return conform(known.to_frame(), table, table)[0]
