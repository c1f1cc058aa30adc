"""One file to one frame: Parquet, CSV (any usual separator), JSON Lines. CSV cells stay text, so "007" stays "007"."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from polars.exceptions import PolarsError

from app.errors import BadData

COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
}
MEMORY_SHARE = 0.5
CELL_BYTES = 16  # of the smallest text in memory; a run-length encoded column of it takes nothing in the file
SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl", ".ndjson")
_SEPARATORS = ",;\t|"


def read_table(path: Path) -> pl.DataFrame:
    """Raises BadData, naming the file, when it is missing, empty or not what its ending says."""
    if not path.is_file():
        raise BadData(f"{path.name}: no such file")
    if path.stat().st_size == 0:
        raise BadData(f"{path.name}: the file is empty")
    suffix = path.suffix.lower()
    refuse_compressed(path)
    try:
        if suffix == ".parquet":
            refuse_oversized(path)
            return pl.read_parquet(path)
        if suffix in (".jsonl", ".ndjson"):
            return pl.read_ndjson(path, infer_schema_length=None)
        if suffix in (".csv", ".tsv"):
            return read_delimited(path)
    except (PolarsError, OSError) as error:
        raise BadData(f"{path.name}: cannot be read as {suffix[1:]}: {_first_line(error)}") from error
    raise BadData(f"{path.name}: unknown kind of file; expected one of {', '.join(SUFFIXES)}")


def refuse_compressed(path: Path) -> None:
    """A few kilobytes of an archive can unpack to more than any memory holds, and nobody can tell before. Raises BadData."""
    with path.open("rb") as file:
        start = file.read(6)
    for magic, kind in COMPRESSED.items():
        if start.startswith(magic):
            raise BadData(f"{path.name}: the file is compressed ({kind}); unpack it first")


def refuse_oversized(path: Path) -> None:
    """By what the file says of itself. Raises BadData for more than MEMORY_SHARE of this machine's memory."""
    try:
        metadata = pq.read_metadata(path)
    except (OSError, pa.ArrowException):
        return  # the reader says what is wrong
    unpacked = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    needed = max(unpacked, metadata.num_rows * metadata.num_columns * CELL_BYTES)
    if needed > memory_bytes() * MEMORY_SHARE:
        raise BadData(
            f"{path.name}: {metadata.num_rows:,} rows need at least {needed / 2**30:,.0f} GiB of memory, more than half of what "
            "this machine has; split the file"
        )


def memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def read_delimited(
    path: Path, *, separator: str | None = None, columns: Sequence[str] | None = None, quote: str | None = '"'
) -> pl.DataFrame:
    """Every cell as text, empty cells as null. UTF-8, or latin-1 where the bytes are no UTF-8.

    separator: default is to guess; may be longer than one character where cells are not quoted ("::").
    columns: their names where the file has no header line; more cells than names are left out, fewer are null.
    """
    text = _decode(path.read_bytes())
    if separator is None:
        separator = guess_separator(text)
    elif len(separator) > 1:
        text, separator = text.replace(separator, "\x1f"), "\x1f"
    try:
        frame = pl.read_csv(
            io.BytesIO(text.encode("utf-8")),
            has_header=columns is None,
            separator=separator,
            quote_char=quote,
            infer_schema=False,
            truncate_ragged_lines=True,
        )
    except PolarsError as error:
        raise BadData(f"{path.name}: cannot be read as csv: {_first_line(error)}") from error
    return frame if columns is None else _name_columns(frame, columns)


def _name_columns(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    frame = frame[:, : len(names)]
    absent = [pl.lit(None, pl.String).alias(name) for name in names[frame.width :]]
    return frame.rename(dict(zip(frame.columns, names, strict=False))).with_columns(absent)


def read_header(path: Path) -> list[str]:
    """Column names of a CSV file; only its first line is read."""
    with path.open("rb") as file:
        line = _decode(file.readline(1_000_000))
    return [cell.strip() for cell in next(csv.reader([line.rstrip("\r\n")], delimiter=guess_separator(line)), [])]


def guess_separator(text: str) -> str:
    """The usual separator that cuts the header line into most cells, quoted cells respected."""
    first = text[: text.find("\n") + 1 or len(text)].rstrip("\r\n")
    return max(_SEPARATORS, key=lambda separator: len(next(csv.reader([first], delimiter=separator), [])))


def _decode(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
