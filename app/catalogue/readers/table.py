"""One file to one frame: Parquet, CSV (any usual separator), JSON Lines. CSV cells stay text, so "007" stays "007"."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from app.errors import BadData

SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl", ".ndjson")
_SEPARATORS = ",;\t|"


def read_table(path: Path) -> pl.DataFrame:
    """Raises BadData, naming the file, when it is missing, empty or not what its ending says."""
    if not path.is_file():
        raise BadData(f"{path.name}: no such file")
    if path.stat().st_size == 0:
        raise BadData(f"{path.name}: the file is empty")
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            return pl.read_parquet(path)
        if suffix in (".jsonl", ".ndjson"):
            return pl.read_ndjson(path, infer_schema_length=None)
        if suffix in (".csv", ".tsv"):
            return read_delimited(path)
    except (PolarsError, OSError) as error:
        raise BadData(f"{path.name}: cannot be read as {suffix[1:]}: {_first_line(error)}") from error
    raise BadData(f"{path.name}: unknown kind of file; expected one of {', '.join(SUFFIXES)}")


def read_delimited(
    path: Path, *, separator: str | None = None, columns: Sequence[str] | None = None, quote: str | None = '"'
) -> pl.DataFrame:
    """Every cell as text, empty cells as null. UTF-8, or latin-1 where the bytes are no UTF-8.

    columns: their names where the file has no header line; more cells than names are left out, fewer are null.
    """
    content = path.read_bytes()
    try:
        head = content[:65_536].decode("utf-8", errors="strict" if len(content) <= 65_536 else "ignore")
        content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
        head, content = text[:65_536], text.encode("utf-8")
    if separator is None:
        separator = guess_separator(head)
    return pl.read_csv(
        io.BytesIO(content.removeprefix(b"\xef\xbb\xbf")),
        has_header=columns is None,
        new_columns=list(columns) if columns is not None else None,
        separator=separator,
        quote_char=quote,
        infer_schema=False,
        truncate_ragged_lines=True,
    )


def guess_separator(head: str) -> str:
    """The usual separator that cuts the header line into most cells, quoted cells respected."""
    first = head.splitlines()[0] if head else ""
    return max(_SEPARATORS, key=lambda separator: len(next(csv.reader([first], delimiter=separator), [])))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
