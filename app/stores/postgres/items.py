"""Items in Postgres: the item half of `CatalogueStore`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Row, Text, and_, any_, case, collate, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.catalogue.item import Item, ItemChanges
from app.stores.postgres.engine import begin
from app.stores.postgres.revisions import move_revision
from app.stores.postgres.tables import items, revisions
from app.types import utc_now

FIELDS = tuple(field.name for field in dataclasses.fields(Item))
COLUMNS = tuple(items.c[name] for name in FIELDS)
# What a stub looks like: everything but the id goes back to the column's default.
EMPTY = {name: None for name in FIELDS if items.c[name].nullable} | {
    "category": [], "tags": [], "attributes": {}, "available": True,
}  # fmt: skip


class PostgresItems:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def upsert_items(self, given: Sequence[Item]) -> int:
        async with begin(self._engine) as connection:
            revision = await move_revision(connection, "catalogue")
            await write_items(connection, given, revision)
            return revision

    async def update_item(self, item_id: str, change: Callable[[Item], Item]) -> tuple[Item, int] | None:
        async with begin(self._engine) as connection:
            revision = await move_revision(connection, "catalogue")
            found = select(*COLUMNS).where(items.c.item_id == item_id, items.c.described).with_for_update()
            row = (await connection.execute(found)).one_or_none()
            if row is None:
                await connection.rollback()
                return None
            changed = change(to_item(row))
            await write_items(connection, [changed], revision)
            return changed, revision

    async def get_item(self, item_id: str) -> Item | None:
        found = await self.get_items([item_id])
        return found[0] if found else None

    async def get_items(self, item_ids: Sequence[str]) -> list[Item]:
        """In the order asked for; those that are not there are left out."""
        query = select(*COLUMNS).where(items.c.item_id == any_(literal(list(item_ids), ARRAY(Text))), items.c.described)
        async with begin(self._engine) as connection:
            found = {row.item_id: to_item(row) for row in await connection.execute(query)}
        return [found[item_id] for item_id in item_ids if item_id in found]

    async def delete_item(self, item_id: str) -> int | None:
        async with begin(self._engine) as connection:
            revision = await move_revision(connection, "catalogue")
            emptied = (
                update(items)
                .where(items.c.item_id == item_id, items.c.described)
                .values(**EMPTY, described=False, revision=revision, updated_at=func.now())
            )
            if (await connection.execute(emptied)).rowcount:
                return revision
            await connection.rollback()
            return None

    async def list_items(self, *, after: str | None, limit: int, query: str | None = None) -> list[Item]:
        wanted = select(*COLUMNS).where(items.c.described).order_by(items.c.item_id).limit(limit)
        if after is not None:
            wanted = wanted.where(items.c.item_id > after)
        if query:
            fields = (items.c.title, items.c.brand, collate(items.c.item_id, "default"))
            wanted = wanted.where(or_(*(field.icontains(query, autoescape=True) for field in fields)))
        async with begin(self._engine) as connection:
            return [to_item(row) for row in await connection.execute(wanted)]

    async def items_changed_since(self, revision: int, limit: int = 5_000) -> ItemChanges:
        """Whole revisions only, so that the next call can go on from the revision returned: may exceed `limit` by one.

        The counter is read first: what it counts is committed, because writers hold its row until they commit.
        """
        async with begin(self._engine) as connection:
            counter = select(revisions.c.value).where(revisions.c.name == "catalogue")
            newest = (await connection.execute(counter)).scalar_one()
            changed = and_(items.c.revision > revision, items.c.revision <= newest)
            cut = select(items.c.revision).where(changed).order_by(items.c.revision).offset(limit - 1).limit(1)
            last = (await connection.execute(cut)).scalar_one_or_none() or newest
            wanted = select(*COLUMNS, items.c.described).where(changed, items.c.revision <= last)
            rows = (await connection.execute(wanted.order_by(items.c.revision, items.c.item_id))).all()
        return ItemChanges(
            revision=last,
            items=tuple(to_item(row) for row in rows if row.described),
            removed=tuple(row.item_id for row in rows if not row.described),
            has_more=last < newest,
        )


async def write_items(connection: AsyncConnection, given: Sequence[Item], revision: int) -> None:
    """In id order, as everybody who writes several items does, so that writers wait and do not deadlock."""
    if given:
        rows = [to_row(item, revision) for item in sorted(given, key=lambda item: item.item_id)]
        await connection.execute(UPSERT, rows)


def make_upsert() -> Any:
    row = insert(items)
    kept = case((items.c.described, items.c.created_at), else_=row.excluded.created_at)
    replaced = {
        name: row.excluded[name] for name in (*FIELDS, "described", "revision", "updated_at") if name != "item_id"
    }
    return row.on_conflict_do_update(index_elements=["item_id"], set_=replaced | {"created_at": kept})


UPSERT = make_upsert()


def to_row(item: Item, revision: int) -> dict[str, Any]:
    now = utc_now()
    row = {name: getattr(item, name) for name in FIELDS}
    return row | {
        "category": list(item.category), "tags": list(item.tags), "attributes": dict(item.attributes),
        "described": True, "revision": revision, "created_at": item.created_at or now, "updated_at": now,
    }  # fmt: skip


def to_item(row: Row[*tuple[Any, ...]]) -> Item:
    values = {name: getattr(row, name) for name in FIELDS}
    values["category"], values["tags"] = tuple(row.category), tuple(row.tags)
    return Item(**values)
