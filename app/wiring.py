"""The one place that joins concrete parts. Everything else asks for what it needs by protocol."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.keys import KeyStore
from app.catalogue.ports import CatalogueStore, ShopDataStore
from app.embedded import EmbeddedStores, start_embedded
from app.errors import BadSettings
from app.feedback.state import EventStore
from app.learning.jobs import JobStore
from app.release.version import VersionStore
from app.scenarios.scenario import RevisionStore, ScenarioStore
from app.settings import Settings
from app.stores.postgres.catalogue import PostgresCatalogue
from app.stores.postgres.engine import create_engine
from app.stores.postgres.events import PostgresEvents
from app.stores.postgres.jobs import PostgresJobs
from app.stores.postgres.keys import PostgresKeys
from app.stores.postgres.migrate import migrate
from app.stores.postgres.revisions import PostgresRevisions
from app.stores.postgres.scenarios import PostgresScenarios
from app.stores.postgres.shop_data import PostgresShopData
from app.stores.postgres.versions import PostgresVersions


class StoreServers:
    """The PostgreSQL and Redis in use: those of the settings, and embedded ones for what the settings leave open.

    settings: the settings given, with both urls filled in.
    """

    def __init__(self, settings: Settings) -> None:
        self._given = settings
        self._embedded = self._start()
        urls = (
            {"database_url": self._embedded.database_url, "redis_url": self._embedded.redis_url}
            if self._embedded
            else {}
        )
        self.settings = settings.model_copy(update={name: url for name, url in urls.items() if url})

    def revive(self) -> None:
        """Start embedded servers that died; the urls stay as they are."""
        if self._embedded is not None and not self._embedded.is_running():
            dead, self._embedded = self._embedded, self._start()
            dead.close()

    def close(self) -> None:
        if self._embedded is not None:
            self._embedded.close()

    def _start(self) -> EmbeddedStores | None:
        postgres, redis = not self._given.database_url, not self._given.redis_url
        return start_embedded(self._given.data_dir, postgres=postgres, redis=redis) if postgres or redis else None


@contextlib.contextmanager
def use_servers(settings: Settings) -> Iterator[StoreServers]:
    """Servers that answer and hold the newest schema. Call outside any event loop. Raises BadSettings, Unavailable."""
    servers = StoreServers(settings)
    try:
        migrate(database_url_of(servers.settings))
        yield servers
    finally:
        servers.close()


@dataclass(frozen=True)
class Stores:
    """Everything kept in Postgres."""

    engine: AsyncEngine
    catalogue: CatalogueStore
    shop_data: ShopDataStore
    events: EventStore
    scenarios: ScenarioStore
    jobs: JobStore
    versions: VersionStore
    keys: KeyStore
    revisions: RevisionStore


@contextlib.asynccontextmanager
async def open_stores(settings: Settings) -> AsyncIterator[Stores]:
    """settings: with the urls of running servers, as `use_servers` gives them."""
    engine = create_engine(database_url_of(settings))
    try:
        yield Stores(
            engine=engine,
            catalogue=PostgresCatalogue(engine),
            shop_data=PostgresShopData(engine),
            events=PostgresEvents(engine),
            scenarios=PostgresScenarios(engine),
            jobs=PostgresJobs(engine),
            versions=PostgresVersions(engine),
            keys=PostgresKeys(engine),
            revisions=PostgresRevisions(engine),
        )
    finally:
        await engine.dispose()


def database_url_of(settings: Settings) -> str:
    if not settings.database_url:
        raise BadSettings(
            "DUOSCENE_DATABASE_URL is empty here; `duoscene up` and `duoscene serve` start a database themselves"
        )
    return settings.database_url
