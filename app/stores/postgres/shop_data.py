"""Whole-shop reads and writes: import, export and training."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Iterable, Iterator

import polars as pl
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.catalogue.ports import TrainingLogReader
from app.catalogue.shop_data import EVENT_SCHEMA, ITEM_SCHEMA, LOG_COLUMNS, SLATE_SCHEMA, USER_SCHEMA, ShopData
from app.errors import BadData
from app.privacy.encryption import PLAIN, StoredText, TextCipher
from app.stores.postgres.copy import COPY_SECONDS, begin_copy, copy_in, copy_out, copy_pieces
from app.stores.postgres.engine import begin
from app.types import Progress

ENTITY_CHUNK = 5_000  # also the most items that share a catalogue revision
EVENT_CHUNK = 50_000
DESCRIBED_ITEMS = "WHERE described ORDER BY item_id"
LOG_SCHEMA = pl.Schema({name: EVENT_SCHEMA[name] for name in LOG_COLUMNS} | {"query": pl.String()})
LOGGED = "(SELECT *, CASE WHEN jsonb_typeof(context->'query') = 'string' THEN context->>'query' END AS query FROM events) AS logged"
# Who did not consent stays out, and with them what their sessions did before they were recognised.
REFUSED = "user_id IN (SELECT user_id FROM users WHERE NOT train)"
NOT_TRAINED_ON = f"""CASE WHEN user_id IS NOT NULL THEN {REFUSED}
    ELSE session_id IN (SELECT session_id FROM events WHERE session_id IS NOT NULL AND {REFUSED}) END"""  # noqa: S608
MAX_SLATES = 50_000  # the newest that learning reads
SLATES = f"""(
    SELECT recommendation_id, user_id, session_id, scenario, item_id, position::int AS position, shown_at AS occurred_at,
           context->>'device' AS device, context->>'country' AS country
    FROM (
        SELECT * FROM impressions WHERE NOT coalesce({NOT_TRAINED_ON}, false) ORDER BY shown_at DESC LIMIT {MAX_SLATES}
    ) AS newest, unnest(item_ids) WITH ORDINALITY AS items (item_id, position)
) AS slates"""  # noqa: S608 - names of our own
STAGED = {
    pl.String: 'text COLLATE "C"', pl.Float64: "double precision", pl.Int32: "integer", pl.Boolean: "boolean", pl.Datetime: "timestamptz",
}  # fmt: skip


def write_entities(table: str, key: str, fields: Iterable[str], extra: dict[str, str], before: str = "") -> str:
    """Insert or replace from `given`; the last of repeated keys wins, `created_at` of a described row stays.

    A row that says nothing but its id (readers make such rows for ids met in events alone) never replaces a described one:
    importing a file of events takes away no title. Consent changes only where the row speaks of it: excluded holds the
    default of a new row by then, so what was given is looked up. extra: column -> value, besides the fields taken over.
    """
    values = {name: GAPS.get(name, f'"{name}"') for name in fields} | extra
    written = {name: f'excluded."{name}"' for name in values if name not in (key, "created_at")}
    for name in written.keys() & CONSENT:
        silent = f'excluded.{key} IN (SELECT {key} FROM last WHERE "{name}" IS NULL)'  # noqa: S608 - names of our own
        written[name] = f'CASE WHEN {silent} THEN {table}."{name}" ELSE excluded."{name}" END'
    replaced = [f'"{name}" = {value}' for name, value in written.items()]
    bare = [f'{written[name]} = {table}."{name}"' if name in CONSENT
            else f'excluded."{name}" = {BARE[name]}' if name in BARE else f'excluded."{name}" IS NULL'
            for name in fields if name in written]  # fmt: skip
    return f"""
        WITH last AS (SELECT DISTINCT ON ({key}) * FROM given ORDER BY {key}, place DESC){before}
        INSERT INTO {table} ({", ".join(f'"{name}"' for name in values)})
        SELECT {", ".join(values.values())} FROM last ORDER BY {key}
        ON CONFLICT ({key}) DO UPDATE SET {", ".join(replaced)},
            created_at = CASE WHEN {table}.described THEN {table}.created_at ELSE excluded.created_at END
        WHERE NOT ({table}.described AND {" AND ".join(bare)})
    """  # noqa: S608 - names of our own


CONSENT = {"personalize", "train"}
GAPS = {
    "category": "ARRAY(SELECT jsonb_array_elements_text(category))", "tags": "ARRAY(SELECT jsonb_array_elements_text(tags))",
    "attributes": "coalesce(attributes, '{}')", "available": "coalesce(available, true)",
    "personalize": "coalesce(personalize, true)", "train": "coalesce(train, true)",
    "created_at": "coalesce(created_at, now())",
}  # fmt: skip
BARE = {
    "category": "'{}'", "tags": "'{}'", "attributes": "'{}'", "available": "true",
}  # fmt: skip
DESCRIBED = {"described": "true", "updated_at": "now()"}
WRITE_ITEMS = write_entities(
    "items", "item_id", ITEM_SCHEMA, DESCRIBED | {"revision": "(SELECT value FROM next)"},
    before=", next AS (UPDATE revisions SET value = value + 1 WHERE name = 'catalogue' RETURNING value)",
)  # fmt: skip
STORED_USER = pl.Schema({**USER_SCHEMA, "text_key": pl.String()})
WRITE_USERS = write_entities("users", "user_id", USER_SCHEMA, DESCRIBED | {"text_key": "text_key"})
EVENT_FIELDS = ", ".join(f'"{name}"' for name in EVENT_SCHEMA)
WRITE_EVENTS = f"""
    INSERT INTO events ({EVENT_FIELDS}) SELECT {EVENT_FIELDS} FROM given ORDER BY place ON CONFLICT (event_id) DO NOTHING
"""  # noqa: S608 - names of our own
ADD_ITEM_STUBS = """
    INSERT INTO items (item_id) SELECT DISTINCT item_id FROM given
    WHERE NOT EXISTS (SELECT FROM items WHERE items.item_id = given.item_id) ORDER BY item_id ON CONFLICT DO NOTHING
"""
ADD_USER_STUBS = """
    INSERT INTO users (user_id) SELECT DISTINCT user_id FROM given
    WHERE user_id IS NOT NULL AND NOT EXISTS (SELECT FROM users WHERE users.user_id = given.user_id)
    ORDER BY user_id ON CONFLICT DO NOTHING
"""


class PostgresShopData:
    def __init__(self, engine: AsyncEngine, cipher: TextCipher = PLAIN) -> None:
        self._engine = engine
        self._cipher = cipher

    async def load(self, data: ShopData, progress: Progress) -> dict[str, int]:
        """In transactions of a chunk each, so that live writers wait for milliseconds and a stopped load can be repeated.

        Raises BadData where a required column has a gap, Unavailable, and what `progress` raises.
        """
        refuse_gaps(data)
        for place, chunk in chunks(data.items, ENTITY_CHUNK):
            await write_chunk(self._engine, ITEM_SCHEMA, chunk, WRITE_ITEMS)
            progress("load items", place / len(data.items))
        for place, chunk in chunks(data.users, ENTITY_CHUNK):
            await write_chunk(self._engine, STORED_USER, encrypted(chunk, self._cipher), WRITE_USERS)
            progress("load users", place / len(data.users))
        new_events = 0
        for place, chunk in chunks(data.events, EVENT_CHUNK):
            new_events += await write_chunk(
                self._engine, EVENT_SCHEMA, chunk, WRITE_EVENTS, ADD_ITEM_STUBS, ADD_USER_STUBS
            )
            progress("load events", place / len(data.events), f"{place:,} of {len(data.events):,} events")
        async with begin(self._engine) as connection:
            await connection.execute(text("ANALYZE items, users, events"))
        return {
            "items": data.items["item_id"].n_unique(),
            "users": data.users["user_id"].n_unique(),
            "events": new_events,
            "events_already_there": len(data.events) - new_events,
        }

    async def read(self) -> ShopData:
        """All three tables as of one moment. A deleted item is not among the items, but its events are there."""
        async with begin_copy(self._engine, one_snapshot=True) as driver:
            return ShopData(
                items=await copy_out(driver, "items", DESCRIBED_ITEMS, ITEM_SCHEMA),
                users=decrypted(
                    await copy_out(driver, "users", "WHERE described ORDER BY user_id", STORED_USER), self._cipher
                ),
                events=await copy_out(
                    driver, "events", "WHERE retracted_at IS NULL ORDER BY occurred_at, seq", EVENT_SCHEMA
                ),
            )

    @contextlib.asynccontextmanager
    async def open_log(self, until: int | None = None) -> AsyncIterator[TrainingLogReader]:
        async with begin_copy(self._engine, one_snapshot=True) as driver:
            newest = await driver.fetchval("SELECT coalesce(max(seq), 0) FROM events")
            until = newest if until is None else until
            events = f"WHERE retracted_at IS NULL AND seq <= {until:d} AND NOT coalesce({NOT_TRAINED_ON}, false)"
            yield TrainingLogReader(
                items=await copy_out(driver, "items", DESCRIBED_ITEMS, ITEM_SCHEMA),
                users=decrypted(
                    await copy_out(driver, "users", "WHERE described AND train ORDER BY user_id", STORED_USER),
                    self._cipher,
                ),
                until=until,
                pieces=copy_pieces(driver, LOGGED, f"{events} ORDER BY occurred_at, seq", LOG_SCHEMA),
                slates=copy_pieces(driver, SLATES, "ORDER BY occurred_at, recommendation_id, position", SLATE_SCHEMA),
            )

    async def counts(self) -> dict[str, int]:
        query = text("""
            SELECT (SELECT count(*) FROM items WHERE described), (SELECT count(*) FROM users WHERE described),
                   (SELECT count(*) FROM events WHERE retracted_at IS NULL)
        """)
        async with begin(self._engine) as connection:
            items, users, events = (await connection.execute(query)).one()
        return {"items": items, "users": users, "events": events}


async def write_chunk(engine: AsyncEngine, schema: pl.Schema, chunk: pl.DataFrame, statement: str, *more: str) -> int:
    """Stage a chunk as the temporary table `given`, then run the statements. Returns the rows that the first one wrote."""
    columns = ", ".join(f'"{name}" {staged(name, kind)}' for name, kind in schema.items())
    lists = [
        pl.col(name).map_elements(to_json, pl.String) for name, kind in schema.items() if isinstance(kind, pl.List)
    ]
    async with begin_copy(engine, one_snapshot=False) as driver:
        await driver.execute(f"CREATE TEMPORARY TABLE given (place integer, {columns}) ON COMMIT DROP")
        await copy_in(driver, "given", chunk.with_columns(lists).with_row_index("place"))
        status = await driver.execute(statement, timeout=COPY_SECONDS)
        for statement_after in more:
            await driver.execute(statement_after, timeout=COPY_SECONDS)
    return int(status.rpartition(" ")[2])


def encrypted(users: pl.DataFrame, cipher: TextCipher) -> pl.DataFrame:
    """USER_SCHEMA to STORED_USER."""
    stored = [cipher.encrypt(text) for text in users["text"]]
    texts = pl.Series("text", [one.text for one in stored], pl.String)
    return users.with_columns(texts, pl.Series("text_key", [one.key for one in stored], pl.String))


def decrypted(users: pl.DataFrame, cipher: TextCipher) -> pl.DataFrame:
    """The other way. Raises Unavailable for a text whose key is missing."""
    texts = [cipher.decrypt(StoredText(*stored)) for stored in users.select("text", "text_key").iter_rows()]
    return users.with_columns(pl.Series("text", texts, pl.String)).drop("text_key")


def to_json(values: pl.Series) -> str:
    return json.dumps(values.to_list())


def staged(name: str, kind: pl.DataType) -> str:
    if name in ("attributes", "context") or isinstance(kind, pl.List):
        return "jsonb"
    return STAGED[type(kind)]


def chunks(frame: pl.DataFrame, size: int) -> Iterator[tuple[int, pl.DataFrame]]:
    """(rows up to and with this chunk, chunk)."""
    for start in range(0, len(frame), size):
        yield min(start + size, len(frame)), frame.slice(start, size)


def refuse_gaps(data: ShopData) -> None:
    required = {"items": ("item_id",), "users": ("user_id",), "events": ("event_id", "type", "item_id", "occurred_at")}
    for table, names in required.items():
        frame: pl.DataFrame = getattr(data, table)
        for name in names:
            if gaps := frame[name].null_count():
                raise BadData(f"{table}: {gaps} rows have no {name}; clean the data first")
