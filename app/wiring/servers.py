"""Which PostgreSQL and Redis this process uses."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from app.embedded import EmbeddedStores, start_embedded
from app.settings import Settings
from app.stores.postgres.migrate import migrate
from app.wiring.urls import database_url_of


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
