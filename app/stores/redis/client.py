"""A Redis client that never holds a request, and that knows when the server is another one than before."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

CONNECT_SECONDS = 0.05
MAX_CONNECTIONS = 64
REST_SECONDS = 0.5  # after a failure nobody asks for so long
log = logging.getLogger(__name__)
Client = Any  # redis.asyncio.Redis: its annotations differ between releases and stub packages
FAILURES = (RedisError, OSError, TimeoutError)


class Server:
    """One Redis server as this process sees it.

    run_id: of the server process behind the newest connection; it changes with every restart. timeout_seconds: per command.
    """

    def __init__(self, url: str, *, timeout_seconds: float) -> None:
        self.run_id = ""
        self._resting_until = 0.0
        options: dict[str, Any] = {
            "max_connections": MAX_CONNECTIONS,
            "timeout": timeout_seconds,  # for a free connection
            "socket_timeout": timeout_seconds,
            "socket_connect_timeout": CONNECT_SECONDS,
            "retry": Retry(NoBackoff(), 0),  # a retry is the next request's; this one has Postgres
            "redis_connect_func": self._on_connect,
        }
        self.client: Client = Redis(connection_pool=BlockingConnectionPool.from_url(url, **options))

    def may_be_asked(self) -> bool:
        return time.monotonic() >= self._resting_until

    def rest(self, why: str) -> None:
        if self.may_be_asked():
            log.warning("Redis is left alone for %.1f s: %s", REST_SECONDS, why)
        self._resting_until = time.monotonic() + REST_SECONDS

    def wake(self) -> None:
        """It answers."""
        self._resting_until = 0.0

    async def close(self) -> None:
        await self.client.aclose()
        await self.client.connection_pool.disconnect()

    async def is_reachable(self) -> bool:
        try:
            async with asyncio.timeout(1.0):
                return bool(await self.client.ping())
        except FAILURES:
            return False

    async def _on_connect(self, connection: Any) -> None:
        await connection.on_connect()
        await connection.send_command("INFO", "server")
        info = await connection.read_response()
        for line in bytes(info).splitlines():
            if line.startswith(b"run_id:"):
                self.run_id = line.partition(b":")[2].decode()
