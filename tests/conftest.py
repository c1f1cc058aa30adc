"""Real PostgreSQL and Redis for every test that asks: embedded ones, or those of DUOSCENE_DATABASE_URL / _REDIS_URL.

Each test gets a fresh database (a copy of a migrated template) and an emptied Redis.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
import redis
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from app.embedded import start_embedded
from app.stores.postgres.engine import create_engine
from app.stores.postgres.migrate import migrate

os.environ.setdefault(
    "OMP_WAIT_POLICY", "PASSIVE"
)  # before torch: two trainings at once must not spin on each other's cores
REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Servers:
    database_url: str
    redis_url: str


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """The servers of this test run. Prefer `database_url` and `redis_url`, which are fresh for each test."""
    database_url = os.environ.get("DUOSCENE_DATABASE_URL", "")
    redis_url = os.environ.get("DUOSCENE_REDIS_URL", "")
    folder = Path(tempfile.mkdtemp(prefix="duoscene-test-"))
    embedded = start_embedded(folder, postgres=not database_url, redis=not redis_url)
    try:
        yield Servers(database_url or embedded.database_url, redis_url or embedded.redis_url)
    finally:
        embedded.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def template_database(servers: Servers) -> Iterator[str]:
    """Name of a migrated, empty database; others are copied from it."""
    name = f"duoscene_template_{uuid.uuid4().hex[:12]}"
    run_sql(servers.database_url, f'CREATE DATABASE "{name}"')
    migrate(database_named(servers.database_url, name))
    yield name
    run_sql(servers.database_url, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def database_url(servers: Servers, template_database: str) -> Iterator[str]:
    """postgresql://… of a database of this test's own, migrated and empty."""
    name = f"duoscene_test_{uuid.uuid4().hex[:12]}"
    run_sql(servers.database_url, f'CREATE DATABASE "{name}" TEMPLATE "{template_database}"')
    yield database_named(servers.database_url, name)
    run_sql(servers.database_url, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def redis_url(servers: Servers) -> str:
    """Url of an empty Redis database: a DUOSCENE_REDIS_URL must name one that may be emptied."""
    with redis.Redis.from_url(servers.redis_url) as client:
        client.flushdb()
    return servers.redis_url


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(database_url)
    yield engine
    await engine.dispose()


@pytest.fixture(scope="session")
def public_data() -> Callable[[str], Path]:
    """`public_data("ml-100k")` is that data set's folder; the test is skipped where there is none."""

    def find(name: str) -> Path:
        folder = REPOSITORY.parent / "shared" / "data" / name
        if not folder.exists():
            pytest.skip(f"public data set {name} is not at {folder}")
        return folder

    return find


def database_named(database_url: str, name: str) -> str:
    return make_url(database_url).set(database=name).render_as_string(hide_password=False)


def run_sql(database_url: str, statement: str) -> None:
    """One statement outside any transaction, from sync code."""

    async def run() -> None:
        connection = await asyncpg.connect(make_url(database_url).set(drivername="postgresql").render_as_string(False))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(run())
