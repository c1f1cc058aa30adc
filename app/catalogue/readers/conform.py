"""A frame with a file's own types and columns to one of the three inner schemas.

Columns the schema does not know become one JSON object per row (`attributes`, `context`). Cells that do not fit become
null, consent among them false, and are reported; a column where no cell at all fits is taken for a wrong column and refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl
from polars.exceptions import PolarsError

from app.catalogue.readers.raw_shop import Unreadable
from app.catalogue.readers.times import to_times
from app.catalogue.shop_data import EVENT_SCHEMA, ITEM_SCHEMA, TIME, USER_SCHEMA
from app.errors import BadData

_TRUE, _FALSE = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")
_EVENT_TYPE_NAMES = {"cart": "cart_add", "add_to_cart": "cart_add", "remove_from_cart": "cart_remove"}


@dataclass(frozen=True)
class _Table:
    name: str
    schema: pl.Schema
    bag: str  # the column that takes the extra ones
    required: tuple[str, ...]
    aliases: Mapping[str, str] = field(default_factory=dict)  # name in files -> inner name
    defaults: Mapping[str, bool] = field(default_factory=dict)  # where the file has no such column
    consents: tuple[str, ...] = ()  # an answer that cannot be read is a no


_TABLES = {
    "items": _Table("items", ITEM_SCHEMA, "attributes", ("item_id",), defaults={"available": True}),
    "users": _Table("users", USER_SCHEMA, "attributes", ("user_id",), consents=("personalize", "train")),
    "events": _Table(
        "events", EVENT_SCHEMA, "context", ("item_id", "type"), aliases={"event": "type", "timestamp": "occurred_at"}
    ),
}


def conform(frame: pl.DataFrame, table: str, file: str) -> tuple[pl.DataFrame, list[Unreadable]]:
    """table: items, users or events. file: named in errors. Raises BadData for a missing or unusable column."""
    wanted = _TABLES[table]
    given = {inner: there for there, inner in wanted.aliases.items() if there in frame.columns}
    frame = frame.rename(
        {
            there: inner
            for there, inner in wanted.aliases.items()
            if there in frame.columns and inner not in frame.columns
        }
        | _swapped(frame, wanted.aliases)
    )
    _check_required(frame, wanted, file)
    columns: list[pl.Series] = []
    unreadable: list[Unreadable] = []
    for name, dtype in wanted.schema.items():
        if name == wanted.bag:
            extra = [column for column in frame.columns if column not in wanted.schema]
            columns.append(_bag(frame, name, extra))
        elif name not in frame.columns:
            columns.append(_absent(name, dtype, len(frame), wanted.defaults.get(name)))
        else:
            series = _cast(frame[name], dtype, file)
            there = given.get(name, name)
            done = "taken for a no" if name in wanted.consents else "set to nothing"
            unreadable += _compare(frame[name].rename(there), series, wanted.name, file, done)
            if name in wanted.consents:
                series = series.set(frame[name].is_not_null() & series.is_null(), False)
            columns.append(series)
    conformed = pl.DataFrame(columns, schema=wanted.schema)
    if table == "events":
        conformed = conformed.with_columns(pl.col("type").replace(_EVENT_TYPE_NAMES))
    return conformed, unreadable


def _swapped(frame: pl.DataFrame, aliases: Mapping[str, str]) -> dict[str, str]:
    """Both `event` and `type` in the file: `event` is ours, the file's `type` is an extra column under another name."""
    both = {there: inner for there, inner in aliases.items() if there in frame.columns and inner in frame.columns}
    return both | {inner: f"{inner}_" for inner in both.values()}


def _check_required(frame: pl.DataFrame, wanted: _Table, file: str) -> None:
    names_in_files = {inner: there for there, inner in wanted.aliases.items()}
    missing = [names_in_files.get(name, name) for name in wanted.required if name not in frame.columns]
    if wanted.name == "events" and not {"user_id", "session_id"} & set(frame.columns):
        missing.append("user_id")
    if missing:
        raise BadData(
            f"{file}: missing column {', '.join(missing)}; it has {', '.join(frame.columns)} "
            "(name another column with --map field=column)"
        )


def _absent(name: str, dtype: pl.DataType, length: int, default: bool | None) -> pl.Series:
    if isinstance(dtype, pl.List):
        return pl.Series(name, [[]], dtype).new_from_index(0, length)
    return pl.Series(name, [default], dtype).new_from_index(0, length)


def _cast(series: pl.Series, dtype: pl.DataType, file: str) -> pl.Series:
    if series.dtype == dtype:
        return series.fill_null(pl.Series([[]], dtype=dtype)) if isinstance(dtype, pl.List) else series
    try:
        if isinstance(dtype, pl.List):
            return split_lists(series)
        if dtype == TIME:
            return to_times(series)
        if dtype == pl.String:
            return _to_text(series)
        if dtype == pl.Boolean:
            return _to_flag(series)
        return _to_number(series, dtype)
    except PolarsError as error:
        raise BadData(f"{file}: column {series.name}: {series.dtype} cannot be read as {dtype}") from error


def _to_text(series: pl.Series) -> pl.Series:
    if series.dtype.is_float() and series.is_not_nan().all() and (series.fill_null(0.0) % 1 == 0).all():
        series = series.cast(pl.Int64)
    return series.cast(pl.String)


def _to_number(series: pl.Series, dtype: pl.DataType) -> pl.Series:
    if series.dtype == pl.String:
        series = series.str.strip_chars().cast(pl.Float64, strict=False)
    return series.cast(dtype, strict=False)


def _to_flag(series: pl.Series) -> pl.Series:
    text = series.cast(pl.String).str.strip_chars().str.to_lowercase()
    value = pl.when(text.is_in(_TRUE)).then(True).when(text.is_in(_FALSE)).then(False)
    return pl.select(value.alias(series.name)).to_series()


def split_lists(series: pl.Series) -> pl.Series:
    """Lists as they are; text as a JSON list, as "Home > Kitchen" (category) or "a|b" or "a, b" (tags)."""
    if isinstance(series.dtype, pl.List):
        return series.cast(pl.List(pl.String)).fill_null(pl.Series([[]], dtype=pl.List(pl.String)))
    values = [_split(text, series.name) for text in series.cast(pl.String).str.strip_chars()]
    return pl.Series(series.name, values, pl.List(pl.String))


def _split(text: str | None, column: str) -> list[str]:
    if not text:
        return []
    if text.startswith("["):
        try:
            return [str(part) for part in json.loads(text) if part is not None]
        except ValueError:
            pass
    separator = ">" if column == "category" else "|" if "|" in text else ","
    return [part.strip() for part in text.split(separator) if part.strip()]


def _compare(before: pl.Series, after: pl.Series, table: str, file: str, done: str) -> list[Unreadable]:
    if before.dtype == after.dtype or isinstance(after.dtype, pl.List):
        return []
    lost = before.is_not_null() & after.is_null()
    count = int(lost.sum())
    if count == 0:
        return []
    example = str(before.filter(lost)[0])[:80]
    if count == before.len() - before.null_count() and count > 1:
        kind = "time" if after.dtype == TIME else "yes or no" if after.dtype == pl.Boolean else "number"
        raise BadData(f"{file}: column {before.name}: none of its {count} values is a {kind}, e.g. {example!r}")
    return [Unreadable(table, before.name, count, example, done)]


def _bag(frame: pl.DataFrame, name: str, extra: Sequence[str]) -> pl.Series:
    """The extra columns of each row as one JSON object, nulls left out; joined to the file's own bag column, if any."""
    own = frame[name] if name in frame.columns else None
    sources = [frame[column] for column in extra]
    if own is not None and isinstance(own.dtype, pl.Struct):
        sources, own = own.struct.unnest().get_columns() + sources, None
    members = [member for series in sources if (member := _member(series)) is not None]
    if own is not None:
        text = own.cast(pl.String).str.strip_chars()
        if not members:
            return own.cast(pl.String)
        inner = text.str.strip_prefix("{").str.strip_suffix("}")
        members.insert(0, pl.select(pl.when(inner.str.len_bytes() > 0).then(inner)).to_series())
    if not members:
        return pl.Series(name, [None], pl.String).new_from_index(0, len(frame))
    named = [member.alias(str(index)) for index, member in enumerate(members)]
    joined = pl.DataFrame(named).select(pl.concat_str(pl.all(), separator=",", ignore_nulls=True).alias(name))
    return joined.select(
        pl.when(pl.col(name).str.len_bytes() > 0)
        .then(pl.concat_str(pl.lit("{"), pl.col(name), pl.lit("}")))
        .alias(name)
    ).to_series()


def _member(series: pl.Series) -> pl.Series | None:
    """`"name":value` per row, null where the value is null; None for a column of nulls."""
    if series.null_count() == series.len():
        return None
    if series.dtype.is_temporal():
        series = series.cast(pl.String)
    if series.dtype.is_float():
        series = series.to_frame().select(pl.when(pl.all().is_finite()).then(pl.all())).to_series()
    if series.dtype.is_numeric() or series.dtype == pl.Boolean:
        value = series.cast(pl.String)
    else:
        encoded = series.alias("v").to_frame().to_struct().struct.json_encode()  # {"v":…}
        value = encoded.str.slice(5).str.strip_suffix("}").set(series.is_null(), None)
    return pl.select(pl.lit(json.dumps(series.name, ensure_ascii=False) + ":") + value).to_series()
