"""Bring the schema to a revision, by whichever process comes first."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

import migrations
from app.stores.postgres.engine import create_engine, lost_database_is_unavailable

MIGRATION_SECONDS = 3600.0
log = logging.getLogger(__name__)
LOCK = 0x6475_6F73  # "duos": the advisory lock all our processes agree on


def migrate(database_url: str, revision: str = "head") -> None:
    """Upgrade to `revision`; "base" or "-1" downgrades. Several processes may call it at once: one works, the rest wait.

    A database that a later release has migrated is left as it is: migrations only add before they take away, so that the
    processes of one release back can run, and start, on it. Not for use inside a running event loop. Raises Unavailable.
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
    found = MigrationContext.configure(connection).get_current_revision()
    if revision == "head" and found is not None and not is_known(found):
        log.warning("the database has schema %s of a later release; this one uses it as it is", found)
        return
    down = revision == "base" or revision.startswith("-")
    (command.downgrade if down else command.upgrade)(config, revision)


def is_known(revision: str) -> bool:
    """Whether this release has that migration."""
    return any(script.revision == revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions())


async def current_revision(database_url: str) -> str | None:
    engine = create_engine(database_url, pool_size=1, application="duoscene-migrate")
    try:
        with lost_database_is_unavailable():
            async with engine.connect() as connection:
                return await connection.run_sync(lambda sync: MigrationContext.configure(sync).get_current_revision())
    finally:
        await engine.dispose()


def alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    return config
