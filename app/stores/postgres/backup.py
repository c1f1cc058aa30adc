"""All tables out to files and back, as PostgreSQL's own COPY text, compressed; one snapshot out, one transaction in.

Left out: vectors of texts, which are a cache by content, and the notes for the live state, which is derived.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.errors import Conflict, writing
from app.stores.postgres.copy import COPY_SECONDS, begin_copy
from app.stores.postgres.engine import begin
from app.stores.postgres.tables import metadata

LEFT_OUT = ("text_vectors", "unapplied_groups")
LEVEL = 3  # of gzip: a third of the size at disk speed
IDENTITIES = text("""
    SELECT table_name, column_name FROM information_schema.columns
    WHERE table_schema = current_schema() AND is_identity = 'YES'
""")
OTHERS = text("""
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'duoscene' AND pid <> pg_backend_pid()
""")


@dataclass(frozen=True)
class TableFile:
    """rows: how many. columns: in the order of the file."""

    table: str
    columns: tuple[str, ...]
    rows: int


def file_of(directory: Path, table: str) -> Path:
    return directory / f"{table}.copy.gz"


async def dump_tables(engine: AsyncEngine, directory: Path) -> tuple[str, list[TableFile], list[str]]:
    """Schema revision, what was written, and the model versions of that very moment (the live one first)."""
    files = []
    async with begin_copy(engine, one_snapshot=True) as driver:
        revision = await driver.fetchval("SELECT version_num FROM alembic_version")
        for table in metadata.sorted_tables:
            if table.name in LEFT_OUT:
                continue
            columns = tuple(table.columns.keys())
            path = file_of(directory, table.name)
            with writing(path), gzip.open(path, "wb", compresslevel=LEVEL) as output:
                done = await driver.copy_from_table(
                    table.name, columns=columns, output=cast(BinaryIO, output), timeout=COPY_SECONDS
                )
            files.append(TableFile(table.name, columns, int(done.rpartition(" ")[2])))
        live = await driver.fetchval(
            "SELECT version FROM activations WHERE rolled_back_at IS NULL ORDER BY seq DESC LIMIT 1"
        )
        versions = [row["version"] for row in await driver.fetch("SELECT version FROM model_versions")]
    return str(revision), files, sorted(versions, key=lambda version: version != live)


async def rows_in(engine: AsyncEngine) -> Mapping[str, int]:
    """Tables that hold more than a new database does."""
    found = {}
    async with begin(engine) as connection:
        for table in metadata.sorted_tables:
            if table.name not in ("revisions", *LEFT_OUT):
                count = f'SELECT count(*) FROM (SELECT FROM "{table.name}" LIMIT 1000) AS found'  # noqa: S608 - our own names
                if rows := (await connection.execute(text(count))).scalar_one():
                    found[table.name] = rows
    return found


async def check_alone(engine: AsyncEngine) -> None:
    """Raises Conflict while a service uses the database: its processes would go on with what they hold in memory."""
    async with begin(engine) as connection:
        if (await connection.execute(OTHERS)).scalar_one():
            raise Conflict("other processes of the service use this database; stop them first", code="in_use")


async def load_tables(engine: AsyncEngine, directory: Path, files: Sequence[TableFile]) -> None:
    """What was there goes. All of it or nothing. The schema must be that of the files."""
    held = {file.table for file in files}
    async with begin_copy(engine, one_snapshot=False) as driver:
        present = {row["tablename"] for row in await driver.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
        )}  # fmt: skip
        names = ", ".join(f'"{table.name}"' for table in metadata.sorted_tables if table.name in present)
        await driver.execute(f"TRUNCATE {names}")
        for file in sorted(files, key=lambda file: [t.name for t in metadata.sorted_tables].index(file.table)):
            with gzip.open(file_of(directory, file.table), "rb") as source:
                await driver.copy_to_table(
                    file.table, source=cast(BinaryIO, source), columns=file.columns, timeout=COPY_SECONDS
                )
        for table, column in await driver.fetch(IDENTITIES.text):
            if table in held:
                await driver.execute(
                    f"SELECT setval(pg_get_serial_sequence('\"{table}\"', '{column}'),"  # noqa: S608 - names of our own schema
                    f' (SELECT coalesce(max("{column}"), 0) + 1 FROM "{table}"), false)'
                )
