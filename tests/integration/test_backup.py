"""A backup restores the whole service; one that is not whole, or a database that holds data, is refused before anything changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from app.backup import make_backup, restore_backup
from app.errors import BadData, Conflict, Unwritable
from app.feedback.event import Event
from app.release.version import ModelVersion
from app.retrieval.manifest import Manifest
from app.settings import Settings
from app.stores.postgres.backup import dump_tables
from app.stores.postgres.engine import create_engine
from app.stores.postgres.migrate import migrate
from app.types import utc_now
from app.wiring.stores import Stores, open_stores
from tests.conftest import Servers, database_named, run_sql

TABLES = [
    "items",
    "users",
    "events",
    "impressions",
    "scenarios",
    "model_versions",
    "activations",
    "api_keys",
    "revisions",
    "jobs",
]


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path) -> Settings:
    return Settings(database_url=database_url, redis_url=redis_url, data_dir=tmp_path / "data")


def with_stores(settings: Settings, use: Callable[[Stores], Any]) -> Any:
    async def run() -> Any:
        async with open_stores(settings) as stores:
            return await use(stores)

    return asyncio.run(run())


async def fill(stores: Stores) -> None:
    events = [
        Event(f"e{n}", "click", f'it"em\t{n}', utc_now(), user_id="ü,1", context={"a": [1, "\\n"]}) for n in range(50)
    ]
    await stores.events.append(events)
    await stores.events.retract("e3")
    await stores.jobs.create("full")
    await stores.versions.add(ModelVersion("v1", utc_now(), "full", verdict="passed"))
    await stores.versions.activate("v1")


def save_model(settings: Settings) -> None:
    """The smallest artifact with a manifest that holds: one file beside it."""
    folder = Path(settings.models_url()) / "v1"
    folder.mkdir(parents=True)
    (folder / "towers.bin").write_bytes(b"weights")
    Manifest("v1", "2026-01-31T12:00:00Z", "full", 1, "k", "e", 2, "1", {}, ("",), {}, {}, {}).write(folder)


async def rows(stores: Stores) -> dict[str, list[Any]]:
    async with stores.engine.connect() as connection:
        return {
            name: [tuple(row) for row in await connection.execute(text(f"SELECT * FROM {name} ORDER BY 1"))]
            for name in TABLES
        }


def test_a_round_trip_gives_the_same_service(
    settings: Settings, tmp_path: Path, servers: Servers, template_database: str
) -> None:
    with_stores(settings, fill)
    save_model(settings)
    before = with_stores(settings, rows)
    make_backup(settings, tmp_path / "backup")

    run_sql(servers.database_url, f'CREATE DATABASE "restored" TEMPLATE "{template_database}"')
    try:
        other = Settings(
            database_url=database_named(servers.database_url, "restored"), redis_url=settings.redis_url,
            data_dir=tmp_path / "other",
        )  # fmt: skip
        restore_backup(other, tmp_path / "backup", force=False)
        assert with_stores(other, rows) == before
        assert (Path(other.models_url()) / "v1" / "towers.bin").read_bytes() == b"weights"

        async def goes_on(stores: Stores) -> set[str]:
            return await stores.events.append(
                [Event("e3", "click", "i", utc_now(), user_id="u"), Event("new", "click", "i", utc_now(), user_id="u")]
            )

        assert with_stores(other, goes_on) == {"new"}
        with pytest.raises(Conflict, match="--force"):
            restore_backup(other, tmp_path / "backup", force=False)
        restore_backup(other, tmp_path / "backup", force=True)
        assert with_stores(other, rows) == before
    finally:
        run_sql(servers.database_url, 'DROP DATABASE "restored" WITH (FORCE)')


def test_a_full_disk_is_not_taken_for_a_database_that_is_away(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "items.copy.gz").symlink_to("/dev/full")
    with_stores(settings, fill)

    async def dump(stores: Stores) -> None:
        with pytest.raises(Unwritable, match=r"items\.copy\.gz cannot be written: No space left on device"):
            await dump_tables(stores.engine, tmp_path)

    with_stores(settings, dump)


def test_what_is_not_whole_is_refused(settings: Settings, tmp_path: Path) -> None:
    with_stores(settings, fill)
    save_model(settings)
    make_backup(settings, tmp_path / "backup")
    with pytest.raises(Conflict, match="not empty"):
        make_backup(settings, tmp_path / "backup")
    before = with_stores(settings, rows)
    for name in ("models/v1/towers.bin", "tables/events.copy.gz", "backup.json"):
        path = tmp_path / "backup" / name
        held = path.read_bytes()
        path.write_bytes(held[:-1])
        with pytest.raises(BadData):
            restore_backup(settings, tmp_path / "backup", force=True)
        path.write_bytes(held)
    assert with_stores(settings, rows) == before


def test_a_database_in_use_is_refused(settings: Settings, tmp_path: Path) -> None:
    make_backup(settings, tmp_path / "backup")

    async def restore_beside(stores: Stores) -> None:
        async with stores.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
            with pytest.raises(Conflict, match="stop them"):
                await asyncio.to_thread(restore_backup, settings, tmp_path / "backup", force=True)

    with_stores(settings, restore_beside)


def test_a_schema_of_a_later_release_is_used_as_it_is(settings: Settings) -> None:
    """What the next release adds: a table, a column, a revision that we have never heard of."""
    assert settings.database_url
    run_sql(settings.database_url, "CREATE TABLE of_the_future (id int)")
    run_sql(settings.database_url, "ALTER TABLE events ADD COLUMN of_the_future int NOT NULL DEFAULT 7")
    run_sql(settings.database_url, "UPDATE alembic_version SET version_num = '9999'")
    migrate(settings.database_url)
    with_stores(settings, fill)
    assert len(with_stores(settings, rows)["events"]) == 50
    engine = create_engine(settings.database_url)
    asyncio.run(engine.dispose())
