"""Shop data to a folder in the duoscene layout; `read_duoscene` gives back exactly what was written."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import polars as pl

from app.catalogue.readers.conform import split_lists
from app.catalogue.shop_data import ShopData
from app.errors import Conflict, writing
from app.types import Progress, no_progress


def write_shop_data(data: ShopData, directory: Path, progress: Progress = no_progress) -> None:
    """Complete or not at all: the folder appears, or an empty one is filled, when all three files are written.

    Raises Conflict when the folder holds anything already, Unwritable.
    """
    with writing(directory):
        _write(data, directory.resolve(), progress)


def _write(data: ShopData, directory: Path, progress: Progress) -> None:
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise Conflict(f"{directory} is not an empty folder; choose another one", code="target_not_empty")
    place = directory if directory.exists() else directory.parent
    unfinished = place / f".{directory.name}.{os.getpid()}.unfinished"
    unfinished.mkdir(parents=True)
    try:
        tables = {
            "items": data.items.with_columns(_as_path(data.items["category"])),
            "users": data.users,
            "events": data.events.rename({"type": "event", "occurred_at": "timestamp"}),
        }
        for done, (name, frame) in enumerate(tables.items(), start=1):
            frame.write_parquet(unfinished / f"{name}.parquet", compression="zstd")
            progress("writing", done / len(tables), f"{name}.parquet: {len(frame):,} rows")
        if place == directory:
            for file in unfinished.iterdir():
                file.rename(directory / file.name)
        else:
            unfinished.rename(directory)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _as_path(category: pl.Series) -> pl.Series:
    """`Home > Kitchen` where every path can be told from its text again, else the lists as they are."""
    joined = category.list.join(" > ")
    joined = joined.set(joined == "", None)
    return joined if split_lists(joined).equals(category) else category
