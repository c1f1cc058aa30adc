"""Where a word stands in the stores: every row of every table, every key of Redis with all it holds."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import redis
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.stores.postgres.engine import begin
from app.stores.postgres.tables import metadata
from app.stores.redis.packing import LENGTH_BYTES
from app.stores.redis.subject import LAYOUT


async def tables_with(engine: AsyncEngine, word: str) -> set[str]:
    found = set()
    async with begin(engine) as connection:
        for table in metadata.sorted_tables:
            rows = await connection.execute(text(f'SELECT "{table.name}"::text FROM "{table.name}"'))
            if any(word in row for row in rows.scalars()):
                found.add(table.name)
    return found


def keys_with(redis_url: str, word: str) -> set[str]:
    with redis.Redis.from_url(redis_url) as client:
        return {
            key.decode() for key in client.scan_iter(count=1_000) if any(word in part for part in parts_of(client, key))
        }


def parts_of(client: redis.Redis, key: bytes) -> Iterable[str]:
    yield key.decode()
    held = READ[client.type(key).decode()](client, key)
    yield from strings(inflated(held) if STATE.match(key) else held)


def inflated(state: bytes) -> bytes:
    """What is deflated in it as text, each id in quotation marks as in JSON; then the changes."""
    end = LENGTH_BYTES + int.from_bytes(state[:LENGTH_BYTES], "little")
    return b'"'.join([*zlib.decompress(state[LENGTH_BYTES:end]).split(b"\0"), state[end:]])


STATE = re.compile(f"[^:]*:[us]{LAYOUT}:".encode())
READ: Mapping[str, Any] = {
    "string": lambda client, key: client.get(key),
    "hash": lambda client, key: client.hgetall(key),
    "set": lambda client, key: client.smembers(key),
    "zset": lambda client, key: client.zrange(key, 0, -1),
    "list": lambda client, key: client.lrange(key, 0, -1),
    "stream": lambda client, key: client.xrange(key),
}


def strings(value: Any) -> Iterable[str]:
    if isinstance(value, bytes):
        yield value.decode("utf-8", "replace")
    elif isinstance(value, Mapping):
        for name, held in value.items():
            yield from (*strings(name), *strings(held))
    elif isinstance(value, list | tuple | set):
        for held in value:
            yield from strings(held)


async def rows(engine: AsyncEngine, *columns: Any) -> list[tuple[Any, ...]]:
    async with begin(engine) as connection:
        return [tuple(row) for row in await connection.execute(select(*columns))]
