"""Bring the schema to a revision, by whichever process comes first."""

from __future__ import annotations

import asyncio
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

import migrations
from app.stores.postgres.engine import create_engine, lost_database_is_unavailable

MIGRATION_SECONDS = 3600.0
LOCK = 0x6475_6F73  # "duos": the advisory lock all our processes agree on


def migrate(database_url: str, revision: str = "head") -> None:
    """Upgrade to `revision`; "base" or "-1" downgrades. Several processes may call it at once: one works, the rest wait.

    Not for use inside a running event loop. Raises Unavailable.
    """
    asyncio.run(_migrate(database_url, revision))


async def _migrate(database_url: str, revision: str) -> None:
    engine = create_engine(
        database_url, pool_size=1, statement_seconds=MIGRATION_SECONDS, application="duoscene-migrate"
    )
    try:
        with lost_database_is_unavailable():
            async with engine.begin() as connection:
                await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
                await connection.run_sync(run_alembic, revision)
    finally:
        await engine.dispose()


def run_alembic(connection: Connection, revision: str) -> None:
    config = alembic_config()
    config.attributes["connection"] = connection
    down = revision == "base" or revision.startswith("-")
    (command.downgrade if down else command.upgrade)(config, revision)


def alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    return config
