"""The database engine, and the one place where a lost database becomes `Unavailable`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import asyncpg
from sqlalchemy import event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from app.errors import BadSettings, Invalid, Unavailable

CONNECT_SECONDS = 3.0
POOL_WAIT_SECONDS = 3.0
STATEMENT_SECONDS = 30.0
FRESH_SECONDS = 1.0  # a connection that came back so lately is alive unless its socket says otherwise
SILENCE_SECONDS = 5.0  # the server ends a statement by itself; one that is silent for so much longer is gone
# sqlstates: connection lost, out of connections or disk or memory, shut down or cancelled, wrong login, read-only standby,
# no such database, database closed to connections
LOST = ("08", "53", "57", "28", "25006", "3D000", "55000")
# What asyncpg says when a server dies while it talks: the second is no kind of the first.
DRIVER_ERRORS = (asyncpg.InterfaceError, asyncpg.InternalClientError)
UNFIT = "22"  # a value that no column can hold, such as text with NUL
log = logging.getLogger(__name__)


def async_url(database_url: str) -> URL:
    """A postgresql:// url (any driver, or `postgres://`) as one for asyncpg. Raises BadSettings."""
    try:
        url = make_url(database_url)
    except ValueError as error:
        raise BadSettings(
            "DUOSCENE_DATABASE_URL is not a url; expected postgresql://user:password@host/database"
        ) from error
    if url.drivername.partition("+")[0] not in ("postgresql", "postgres"):
        raise BadSettings(f"DUOSCENE_DATABASE_URL must start with postgresql://, not {url.drivername}://")
    url = url.set(drivername="postgresql+asyncpg")
    if "sslmode" in url.query:  # libpq's name; asyncpg takes the same values under `ssl`
        mode = url.query["sslmode"]
        url = url.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})
    return url


def create_engine(
    database_url: str,
    *,
    pool_size: int = 8,
    max_overflow: int = 8,
    statement_seconds: float = STATEMENT_SECONDS,
    application: str = "duoscene",
) -> AsyncEngine:
    """Nothing is connected yet. At most pool_size + max_overflow connections, then callers wait POOL_WAIT_SECONDS."""
    settings = {
        "application_name": application,
        "statement_timeout": str(round(statement_seconds * 1000)),
        "timezone": "UTC",
    }
    engine = create_async_engine(
        async_url(database_url),
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_timeout=POOL_WAIT_SECONDS,
        pool_recycle=1800,
        hide_parameters=True,  # they are profile texts and ids, and errors are logged
        connect_args={
            "timeout": CONNECT_SECONDS,
            "command_timeout": statement_seconds + SILENCE_SECONDS,
            "server_settings": settings,
        },
    )  # fmt: skip
    event.listen(engine.sync_engine, "checkin", note_return)
    event.listen(engine.sync_engine, "checkout", check_alive)
    return engine


def note_return(connection: Any, record: Any) -> None:
    record.info["returned_at"] = time.monotonic()


def check_alive(connection: Any, record: Any, proxy: Any) -> None:
    """Otherwise the first callers after a database restart fail. The pool's own ping is three round trips before every transaction, but
    a server that goes away closes the socket, and the driver has noticed."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError("the database closed the connection")
    now = time.monotonic()
    if now - record.info.get("returned_at", now) > FRESH_SECONDS:
        try:
            connection.ping()
        except Exception as error:
            raise DisconnectionError("the connection is dead") from error


@contextlib.asynccontextmanager
async def begin(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction: committed at the end, rolled back on an error."""
    with lost_database_is_unavailable():
        async with engine.begin() as connection:
            yield connection


@contextlib.asynccontextmanager
async def driver_of(engine: AsyncEngine) -> AsyncIterator[asyncpg.Connection[Any]]:
    """A connection as the driver's own: every statement is one round trip and a transaction of its own."""
    with lost_database_is_unavailable():
        async with engine.connect() as connection:
            raw = await connection.get_raw_connection()
            yield cast("asyncpg.Connection[Any]", raw.driver_connection)


@contextlib.contextmanager
def lost_database_is_unavailable() -> Iterator[None]:
    """Raises Unavailable for a database that cannot be reached, Invalid for a value that it cannot hold."""
    try:
        yield
    except DBAPIError as error:
        state = sqlstate(error)
        if error.connection_invalidated or isinstance(error, InterfaceError) or state.startswith(LOST):
            raise unavailable(error) from error
        if state.startswith(UNFIT):
            raise unfit(error.orig) from error
        raise
    except (OSError, TimeoutError, PoolTimeout, asyncpg.PostgresConnectionError, *DRIVER_ERRORS) as error:
        raise unavailable(error) from error
    except asyncpg.PostgresError as error:  # met while connecting or in COPY, where SQLAlchemy does not wrap errors
        if str(error.sqlstate).startswith(LOST):
            raise unavailable(error) from error
        if str(error.sqlstate).startswith(UNFIT):
            raise unfit(error) from error
        raise


def unavailable(error: BaseException) -> Unavailable:
    log.warning("the database cannot be used: %s: %s", type(error).__name__, error)
    return Unavailable("the database cannot be reached; try again", code="store_unavailable")


def sqlstate(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")


def unfit(error: BaseException | None) -> Invalid:
    """With what PostgreSQL's own first line says of the kind of fault: the value itself, which may be anybody's words, follows a colon."""
    line = str(error).partition("\n")[0].rpartition(">: ")[2].partition(": ")[0]
    return Invalid(f"the database cannot hold a value: {line}", code="bad_value")


async def is_reachable(engine: AsyncEngine) -> bool:
    """Whether the database answers within a second."""
    try:
        async with asyncio.timeout(1.0), begin(engine) as connection:
            await connection.execute(text("SELECT 1"))
    except (Unavailable, TimeoutError):
        return False
    return True
