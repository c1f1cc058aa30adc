"""Tells a hung database from a busy one.

A statement may take its time; a database that stopped (SIGSTOP, a network that swallows packets) must not hold a request.
Who waits longer than usual asks for a sign of life on a connection of its own: a query that a healthy server answers in a
fraction of a millisecond, however busy the others are.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

import asyncpg
from sqlalchemy.dialects.postgresql.asyncpg import dialect

from app.errors import Unavailable
from app.patience import forget, settles
from app.stores.postgres.engine import DRIVER_ERRORS, async_url

PATIENCE_SECONDS = 0.015  # before the first look
BEAT_SECONDS = 0.025  # for a sign of life: with the patience before it, 40 ms
LONG_PATIENCE_SECONDS, LONG_BEAT_SECONDS = 0.25, 0.25
LOOK_AGAIN_SECONDS = 0.5  # between looks at a database that is away
GIVE_UP_SECONDS = 2.0  # a silent connection is dropped then
# Of a url's options; the others are SQLAlchemy's own, or limits for statements that this connection never sees.
WHERE = (
    "host", "port", "user", "password", "passfile", "service", "servicefile", "database", "ssl", "direct_tls",
    "target_session_attrs", "krbsrvname", "gsslib",
)  # fmt: skip
USUAL = (OSError, TimeoutError, asyncpg.PostgresError, *DRIVER_ERRORS)
T = TypeVar("T")
log = logging.getLogger(__name__)


class Pulse:
    """One for each process, between its first use and `close`, on one event loop."""

    def __init__(self, database_url: str) -> None:
        driver: Any = dialect
        _, options = driver().create_connect_args(async_url(database_url))
        self._options = {name: value for name, value in options.items() if name in WHERE}
        self._connection: asyncpg.Connection[Any] | None = None
        self._beat: asyncio.Task[bool] | None = None
        self._watch: asyncio.Task[None] | None = None
        self.is_away = False

    async def close(self) -> None:
        for task in (self._watch, self._beat):
            if task is not None:
                task.cancel()
                await asyncio.wait([task], timeout=0.2)
        self._drop()

    async def hold(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        """The result of some database work, for as long as the database shows signs of life and `seconds` at most.

        Raises Unavailable, at once while the database is known to be away. Work that was begun goes on unseen.
        """
        if self.is_away:
            work.close()
            raise away()
        return await self._hold(work, seconds, PATIENCE_SECONDS, BEAT_SECONDS)

    async def hold_patiently(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        """The same for what nobody looks at a clock for: a machine that is short of breath is not taken for a hung one."""
        if self.is_away and not await self.beats(LONG_BEAT_SECONDS):
            work.close()
            raise away()
        return await self._hold(work, seconds, LONG_PATIENCE_SECONDS, LONG_BEAT_SECONDS)

    async def _hold(self, work: Coroutine[Any, Any, T], seconds: float, patience: float, beat: float) -> T:
        task = asyncio.ensure_future(work)
        until = time.monotonic() + seconds
        while not await settles(task, patience):
            if not await self.beats(beat):
                self._lose()
                forget(task)
                raise away()
            if time.monotonic() > until:
                forget(task)
                raise Unavailable("the database took too long; try again", code="store_unavailable")
        return task.result()

    async def beats(self, seconds: float = BEAT_SECONDS) -> bool:
        """Whether the database answers now, within `seconds`."""
        beat = self._beat
        if beat is None or beat.done():
            beat = self._beat = asyncio.create_task(self._ask(), name="pulse of the database")
        return await settles(beat, seconds) and beat.result()

    def _lose(self) -> None:
        if not self.is_away:
            log.warning("the database does not answer; nobody waits for it until it does")
        self.is_away = True
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._watch_for_return(), name="watch for the database")

    async def _watch_for_return(self) -> None:
        while not await self.beats(LONG_BEAT_SECONDS):  # noqa: ASYNC110 - nothing announces its return
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
        self.is_away = False
        log.warning("the database answers again")

    async def _ask(self) -> bool:
        """Ends after GIVE_UP_SECONDS at most, whatever the connection does."""
        task = asyncio.ensure_future(self._select())
        if await settles(task, GIVE_UP_SECONDS):
            return task.result()
        self._drop()
        forget(task)
        return False

    async def _select(self) -> bool:
        try:
            if self._connection is None or self._connection.is_closed():
                self._connection = await asyncpg.connect(**self._options, timeout=GIVE_UP_SECONDS)
            await self._connection.execute("SELECT 1")
        except Exception as error:  # whatever it is, the watch for the return must go on
            if not isinstance(error, USUAL):
                log.exception("the database cannot be asked for a sign of life")
            self._drop()
            return False
        return True

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.terminate()


def away() -> Unavailable:
    return Unavailable("the database does not answer; try again", code="store_unavailable")
