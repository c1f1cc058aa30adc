"""Both embedded servers of one data directory, shared by every process that asks for them.

Each process that uses them holds a shared lock; whoever leaves last stops the servers. A killed process holds no lock, so
its servers are taken over by the next start and stopped by that one.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from app.embedded.postgres import Postgres, start_postgres
from app.embedded.redis import Redis, start_redis
from app.errors import BadSettings


@dataclass
class EmbeddedStores:
    """database_url: postgresql://… over a unix socket. redis_url: unix://…"""

    database_url: str
    redis_url: str
    postgres: Postgres | None
    redis: Redis | None
    data_dir: Path
    _in_use: IO[bytes]

    def is_running(self) -> bool:
        """False when a server has died; `start_embedded` brings it back under the same url."""
        return all(server.is_running() for server in (self.postgres, self.redis) if server is not None)

    def close(self) -> None:
        """Leave; the last one to leave stops the servers. May be called twice."""
        if self._in_use.closed:
            return
        with start_lock(self.data_dir):
            try:
                fcntl.flock(self._in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            else:
                for server in (self.redis, self.postgres):
                    if server is not None:
                        server.stop()
            finally:
                self._in_use.close()

    def __enter__(self) -> EmbeddedStores:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def start_embedded(data_dir: Path, *, postgres: bool = True, redis: bool = True) -> EmbeddedStores:
    """Start (or join) the servers of `data_dir`, which is created. About 2 s the first time, 0.5 s later.

    postgres, redis: False leaves one out (its url is then ""), because a server of one's own takes its place.
    Raises BadSettings when they cannot run here; the message says what to set instead.
    """
    data_dir = data_dir.resolve()
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        in_use = (data_dir / "embedded.lock").open("ab")
    except OSError as error:
        raise BadSettings(f"DUOSCENE_DATA_DIR cannot be written ({error})") from error
    try:
        with start_lock(data_dir):
            fcntl.flock(in_use, fcntl.LOCK_SH)
            database = start_postgres(data_dir) if postgres else None
            try:
                cache = start_redis(data_dir) if redis else None
            except BaseException:
                if database is not None and database.process is not None:
                    database.stop()
                raise
    except BaseException:
        in_use.close()
        raise
    return EmbeddedStores(
        database.url if database else "", cache.url if cache else "", database, cache, data_dir, in_use
    )


@contextlib.contextmanager
def start_lock(data_dir: Path) -> Iterator[None]:
    with (data_dir / "start.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
