"""Whole frames in and out of Postgres by COPY, as CSV: an empty field is null, a quoted empty one is an empty text."""

from __future__ import annotations

import asyncio
import contextlib
import io
import tempfile
from collections.abc import AsyncIterator, Iterator
from typing import IO, Any, cast

import asyncpg
import polars as pl
import pyarrow as pa
import pyarrow.csv
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.stores.postgres.engine import begin

COPY_SECONDS = 3600.0
BLOCK_BYTES = 16 * 2**20  # no row may be longer
READ_TYPES = {pl.String: pa.string(), pl.Float64: pa.float64(), pl.Int32: pa.int32(), pl.Boolean: pa.bool_()}


@contextlib.asynccontextmanager
async def begin_copy(engine: AsyncEngine, *, one_snapshot: bool) -> AsyncIterator[asyncpg.Connection[Any]]:
    """A transaction without time limit, as the driver's own connection: SQLAlchemy has no COPY.

    one_snapshot: all statements see the same moment; for reading only, since a writer would fail on concurrent changes.
    """
    async with begin(engine) as connection:
        if one_snapshot:
            await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        await connection.execute(text("SET LOCAL statement_timeout = 0"))
        raw = await connection.get_raw_connection()
        yield cast("asyncpg.Connection[Any]", raw.driver_connection)


async def copy_in(driver: asyncpg.Connection[Any], table: str, frame: pl.DataFrame) -> None:
    """Columns by name. Lists must be JSON text already."""
    rows = io.BytesIO()
    frame.write_csv(rows, include_header=False, quote_style="non_numeric", datetime_format="%Y-%m-%dT%H:%M:%S%.6f%:z")
    rows.seek(0)
    await driver.copy_to_table(table, source=rows, columns=frame.columns, format="csv", timeout=COPY_SECONDS)


async def copy_out(driver: asyncpg.Connection[Any], table: str, condition: str, schema: pl.Schema) -> pl.DataFrame:
    """The columns of `schema`, in the order of the query's rows. condition: all that stands behind FROM <table>."""
    pieces = [piece async for piece in copy_pieces(driver, table, condition, schema)]
    return pl.concat(pieces) if pieces else pl.DataFrame(schema=schema)


async def copy_pieces(
    driver: asyncpg.Connection[Any], table: str, condition: str, schema: pl.Schema
) -> AsyncIterator[pl.DataFrame]:
    """The same in pieces of about BLOCK_BYTES of text; the whole stands in a temporary file, never in memory."""
    fields = ", ".join(exported(name, kind) for name, kind in schema.items())
    query = f"SELECT {fields} FROM {table} {condition}"  # noqa: S608 - names and conditions of our own
    with tempfile.TemporaryFile() as rows:
        await driver.copy_from_query(query, output=rows, format="csv", timeout=COPY_SECONDS)
        rows.seek(0)
        pieces = parse(rows, schema)
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            yield piece


def exported(name: str, kind: pl.DataType) -> str:
    column = f'"{name}"'
    if isinstance(kind, pl.List):
        return f"to_json({column}) AS {column}"
    if isinstance(kind, pl.Datetime):
        return f"(extract(epoch FROM {column}) * 1000000)::bigint AS {column}"
    return column


def parse(rows: IO[bytes], schema: pl.Schema) -> Iterator[pl.DataFrame]:
    if not rows.read(1):
        return
    rows.seek(0)
    types = {name: pa.int64() if isinstance(kind, pl.Datetime) else READ_TYPES.get(type(kind), pa.string())
             for name, kind in schema.items()}  # fmt: skip
    batches = pyarrow.csv.open_csv(
        rows,
        pyarrow.csv.ReadOptions(column_names=list(schema), block_size=BLOCK_BYTES, use_threads=False),
        pyarrow.csv.ParseOptions(newlines_in_values=True),
        pyarrow.csv.ConvertOptions(
            column_types=types, null_values=[""], true_values=["t"], false_values=["f"],
            strings_can_be_null=True, quoted_strings_can_be_null=False,
        ),
    )  # fmt: skip
    for batch in batches:
        yield typed(cast(pl.DataFrame, pl.from_arrow(batch)), schema)


def typed(frame: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    return frame.select(
        pl.col(name).str.json_decode(kind) if isinstance(kind, pl.List) else pl.col(name).cast(kind)
        for name, kind in schema.items()
    )
