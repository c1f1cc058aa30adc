"""Rules for single cells that all three tables share: ids, texts, lists, JSON objects."""

from __future__ import annotations

import re

import orjson
import polars as pl

from app.catalogue.cleaning.ledger import Ledger

MAX_ID_LENGTH = 256
NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")  # after an even number of backslashes it is these six characters


def bad_id(column: str) -> pl.Expr:
    """Too long, with control characters, or one of the two that cannot stand in a path."""
    text = pl.col(column)
    return (text.str.len_chars() > MAX_ID_LENGTH) | text.str.contains(r"\p{Cc}") | text.is_in([".", ".."])


def drop_bad_ids(ledger: Ledger, table: str, frame: pl.DataFrame, column: str) -> pl.DataFrame:
    missing = pl.col(column).is_null() | (pl.col(column) == "")
    frame = ledger.drop(table, frame, missing, f"{column} missing")
    return ledger.drop(
        table, frame, bad_id(column), f"{column} longer than {MAX_ID_LENGTH}, with control characters, or a dot alone"
    )


def mend_texts(ledger: Ledger, table: str, frame: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    """NUL characters, which PostgreSQL cannot hold, are taken out; blank texts become null."""
    for column in columns:
        text = pl.col(column)
        without = text.str.replace_all("\x00", "", literal=True)
        has_nul = text.str.contains("\x00", literal=True)
        frame = ledger.mend(table, frame, column, has_nul, f"{column} with NUL characters", "taken out", without)
        frame = ledger.mend(table, frame, column, text.str.strip_chars() == "", f"{column} blank")
    return frame


def mend_lists(frame: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    """No null and no blank entries, no NUL; null lists become empty ones."""
    entry = pl.element().str.replace_all("\x00", "", literal=True).str.strip_chars()
    empty = pl.lit(pl.Series([[]], dtype=pl.List(pl.String)))
    return frame.with_columns(
        pl.col(column).list.eval(entry.filter(entry.is_not_null() & (entry != ""))).fill_null(empty)
        for column in columns
    )


def mend_json(ledger: Ledger, table: str, frame: pl.DataFrame, column: str) -> pl.DataFrame:
    """Whatever is no JSON object, or holds what PostgreSQL's jsonb cannot, becomes null. Checks each different text once."""
    texts = frame[column].drop_nulls().unique()
    wrong = [text for text in texts if not _is_storable_object(text)]
    return ledger.mend(table, frame, column, pl.col(column).is_in(wrong), f"{column} is no JSON object")


def _is_storable_object(text: str) -> bool:
    try:
        return isinstance(orjson.loads(text), dict) and not NUL.search(text)
    except orjson.JSONDecodeError:
        return False


def impossible_number(column: str, *, least: float | None = None, most: float | None = None) -> pl.Expr:
    number = pl.col(column)
    wrong = ~number.cast(pl.Float64).is_finite()
    if least is not None:
        wrong |= number < least
    if most is not None:
        wrong |= number > most
    return wrong
