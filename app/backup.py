"""`duoscene backup DIR` and `duoscene restore DIR`: database, model artifacts, and with them scenarios, keys and experiments.

Not in it: Redis, which is derived, and secrets of the settings (admin key, pepper, pseudonym and encryption secrets), without
which parts of a backup cannot be read. `backup.json` is written last: a folder without it is no backup.
"""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import orjson
from rich.markup import escape

from app.console import console, counts_table
from app.errors import BadArtifact, BadData, Conflict, writing
from app.retrieval.manifest import Manifest, sha256
from app.settings import Settings
from app.stores.artifacts import copy_files
from app.stores.postgres.backup import TableFile, check_alone, dump_tables, file_of, load_tables, rows_in
from app.stores.postgres.migrate import current_revision, is_known, migrate
from app.types import utc_now
from app.wiring.encoding import artifacts_of
from app.wiring.live_state import open_live_state
from app.wiring.servers import use_servers
from app.wiring.stores import open_stores
from app.wiring.urls import database_url_of

MANIFEST = "backup.json"
FORMAT = 1


def make_backup(settings: Settings, directory: Path) -> None:
    """The service may run meanwhile. Raises Conflict for a folder that is not empty, Unwritable, BadArtifact when the live
    model's files are not whole."""
    with writing(directory):
        if directory.exists() and any(directory.iterdir()):
            raise Conflict(f"{directory} is not empty; choose another folder", code="not_empty")
        (directory / "tables").mkdir(parents=True, exist_ok=True)
    with use_servers(settings) as servers:
        revision, tables, versions = asyncio.run(_dump(servers.settings, directory / "tables"))
    with writing(directory):
        copied = _copy_models(settings, directory / "models", versions)
    document = {
        "format": FORMAT,
        "created_at": utc_now().isoformat(),
        "schema": revision,
        "tables": [dataclasses.asdict(table) | {"sha256": sha256(file_of(directory / "tables", table.table))} for table in tables],
        "models": copied,
    }  # fmt: skip
    with writing(directory):
        (directory / MANIFEST).write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    console.print(counts_table(f"Backed up to {directory}", {table.table: table.rows for table in tables}))
    console.print(f"{len(copied)} model versions of {len(versions)}")


async def _dump(settings: Settings, directory: Path) -> tuple[str, list[TableFile], list[str]]:
    async with open_stores(settings) as stores:
        return await dump_tables(stores.engine, directory)


def _copy_models(settings: Settings, directory: Path, versions: list[str]) -> list[str]:
    """versions: the live one first; files of others may be gone, because operators tidy up."""
    artifacts = artifacts_of(settings)
    copied = []
    for place, version in enumerate(versions):
        try:
            source = artifacts.fetch(version)
            Manifest.read(source)
        except BadArtifact as error:
            if place == 0:
                raise
            console.print(f"[yellow]left out:[/] {escape(error.detail)}")
            continue
        (directory / version).mkdir(parents=True)
        copy_files(source, directory / version)
        copied.append(version)
    return copied


def restore_backup(settings: Settings, directory: Path, *, force: bool) -> None:
    """Into a database without data, or over what is there (force). Nothing is changed before all of the backup was checked.

    Raises BadData for a folder that is no whole backup, Conflict for a database that holds data or is in use.
    """
    document, tables = read_backup(directory)
    with use_servers(settings) as servers:
        url = database_url_of(servers.settings)
        asyncio.run(_check_target(servers.settings, force=force))
        for version in document["models"]:
            try:
                artifacts_of(settings).publish(directory / "models" / version, version)
            except Conflict:  # versions are never overwritten, and were checked when they were made
                console.print(f"model {version} is there already", markup=False)
        if asyncio.run(current_revision(url)) != document["schema"]:
            migrate(url, "base")
            migrate(url, document["schema"])
        asyncio.run(_load(servers.settings, directory / "tables", tables))
        migrate(url)
        asyncio.run(_forget_live_states(servers.settings))
    console.print(counts_table("Restored", {table.table: table.rows for table in tables}))


def read_backup(directory: Path) -> tuple[dict[str, Any], list[TableFile]]:
    """With every file checked. Raises BadData."""
    try:
        document: dict[str, Any] = orjson.loads((directory / MANIFEST).read_bytes())
    except (OSError, ValueError) as error:
        raise BadData(f"{directory} is no finished backup: {MANIFEST} is missing or unreadable") from error
    if document.get("format") != FORMAT:
        raise BadData(f"{directory}: format {document.get('format')}, this release reads {FORMAT}")
    if not is_known(document["schema"]):
        raise BadData(
            f"{directory} was made by a later release (schema {document['schema']}); restore it with that one"
        )
    tables = []
    for table in document["tables"]:
        path = file_of(directory / "tables", table["table"])
        if not path.is_file() or sha256(path) != table["sha256"]:
            raise BadData(f"{path} is missing or altered")
        tables.append(TableFile(table["table"], tuple(table["columns"]), table["rows"]))
    for version in document["models"]:
        try:
            Manifest.read(directory / "models" / version)
        except BadArtifact as error:
            raise BadData(error.detail) from error
    return document, tables


async def _check_target(settings: Settings, *, force: bool) -> None:
    async with open_stores(settings) as stores:
        await check_alone(stores.engine)
        if not force and (found := await rows_in(stores.engine)):
            raise Conflict(
                f"the database holds data ({', '.join(found)}); --force replaces all of it", code="not_empty"
            )


async def _load(settings: Settings, directory: Path, tables: list[TableFile]) -> None:
    async with open_stores(settings) as stores:
        await load_tables(stores.engine, directory, tables)


async def _forget_live_states(settings: Settings) -> None:
    async with open_stores(settings) as stores, open_live_state(settings, stores) as live_state:
        await live_state.forget_everybody()
        await live_state.settle()
