"""The schema goes up, down and up again, by many processes at once, and is the one the queries are written for."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, MetaData
from sqlalchemy.ext.asyncio import AsyncEngine

from app.errors import Unavailable
from app.stores.postgres.engine import create_engine
from app.stores.postgres.migrate import migrate
from app.stores.postgres.tables import metadata


def table_names(database_url: str) -> set[str]:
    async def read() -> set[str]:
        engine = create_engine(database_url)
        found = MetaData()
        async with engine.connect() as connection:
            await connection.run_sync(found.reflect)
        await engine.dispose()
        return set(found.tables)

    return asyncio.run(read())


def test_up_down_and_up_again(database_url: str) -> None:
    assert table_names(database_url) == {*metadata.tables, "alembic_version"}
    migrate(database_url, "base")
    assert table_names(database_url) == {"alembic_version"}
    migrate(database_url)
    migrate(database_url)
    assert table_names(database_url) == {*metadata.tables, "alembic_version"}


async def test_the_migrated_schema_is_the_one_in_tables(engine: AsyncEngine) -> None:
    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        return list(compare_metadata(context, metadata))

    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []


def test_several_processes_may_migrate_at_once(database_url: str) -> None:
    migrate(database_url, "base")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrate, [database_url] * 4))
    assert "items" in table_names(database_url)


def test_no_server_is_unavailable() -> None:
    with pytest.raises(Unavailable) as caught:
        migrate("postgresql://nobody@127.0.0.1:1/none")
    assert caught.value.code == "store_unavailable"
