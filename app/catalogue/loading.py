"""From a path to shop data: choose the reader, read, clean. Called by the command line."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from app.catalogue.cleaning import Cleaned, Finding, clean
from app.catalogue.readers.delimited import read_delimited_shop
from app.catalogue.readers.duoscene import is_duoscene, open_duoscene, read_duoscene
from app.catalogue.readers.movielens import is_movielens, read_movielens
from app.catalogue.readers.online_retail import is_online_retail, read_online_retail
from app.catalogue.readers.raw_shop import RawShop
from app.catalogue.readers.table import SUFFIXES, read_header
from app.catalogue.shop_data import EventfulShop, ShopData
from app.errors import BadData
from app.types import Progress, no_progress, utc_now

FORMATS = ("auto", "duoscene", "movielens", "online-retail", "csv", "jsonl", "parquet")
_DELIMITED = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


def import_path(
    path: Path,
    format: str = "auto",
    mapping: Mapping[str, str] | None = None,
    *,
    now: datetime | None = None,
    progress: Progress = no_progress,
) -> Cleaned:
    """Read and clean. Raises BadData."""
    raw = read_raw(path, format, mapping, progress)
    found = [
        Finding(cells.table, f"{cells.column} unreadable", cells.count, cells.done, cells.example)
        for cells in raw.unreadable
    ]
    found += [Finding(rows.table, rows.rule, rows.count, "left out by the reader") for rows in raw.skipped]
    progress("cleaning", 0.0)
    cleaned = clean(raw.data, now or utc_now(), found)
    progress("cleaning", 1.0)
    return cleaned


def read_shop_data(
    path: Path, format: str = "auto", mapping: Mapping[str, str] | None = None, progress: Progress = no_progress
) -> ShopData:
    """As the files have it, not cleaned: events in file order, times may be null. Raises BadData."""
    return read_raw(path, format, mapping, progress).data


def open_shop(
    path: Path, format: str = "auto", mapping: Mapping[str, str] | None = None, progress: Progress = no_progress
) -> EventfulShop:
    """`read_shop_data` for whoever reads the events once and in order: they need not stand in memory. Raises BadData."""
    if format == "duoscene" or (format == "auto" and not mapping and path.is_dir() and is_duoscene(path)):
        return open_duoscene(path, progress)
    return read_shop_data(path, format, mapping, progress)


def read_raw(
    path: Path, format: str = "auto", mapping: Mapping[str, str] | None = None, progress: Progress = no_progress
) -> RawShop:
    if format not in FORMATS:
        raise BadData(f"unknown format {format!r}; one of {', '.join(FORMATS)}")
    if not path.exists():
        raise BadData(f"{path}: no such file or folder")
    if format == "auto":
        format = "csv" if mapping and path.is_file() else detect_format(path)
    if mapping and format in ("duoscene", "movielens", "online-retail"):
        raise BadData(f"--map is for single files of any making; the columns of {format} are known")
    if format == "duoscene":
        return read_duoscene(path, progress)
    if format == "movielens":
        return read_movielens(path, progress)
    file = _only_file(path)
    return (
        read_online_retail(file, progress)
        if format == "online-retail"
        else read_delimited_shop(file, mapping, progress)
    )


def detect_format(path: Path) -> str:
    """One of FORMATS but auto. Raises BadData when nothing in there looks like shop data."""
    if path.is_dir():
        if is_duoscene(path):
            return "duoscene"
        if is_movielens(path):
            return "movielens"
        path = _only_file(path)
    format = _DELIMITED.get(path.suffix.lower())
    if format is None:
        raise BadData(f"{path.name}: cannot tell what this is; files end in {', '.join(SUFFIXES)}")
    return "online-retail" if format == "csv" and is_online_retail(read_header(path)) else format


def _only_file(path: Path) -> Path:
    if path.is_file():
        return path
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in _DELIMITED)
    if len(files) != 1:
        names = ", ".join(file.name for file in files[:5]) or "nothing readable"
        raise BadData(
            f"{path.name}: expected items/users/events files, a MovieLens folder, or one data file; found {names}"
        )
    return files[0]
