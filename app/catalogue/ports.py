"""What the service asks of the place where items and users are kept. Implemented by `app.stores.postgres`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

import polars as pl

from app.catalogue.item import Item, ItemChanges, User
from app.catalogue.shop_data import ShopData
from app.types import Progress


class CatalogueStore(Protocol):
    """Every write to items moves the catalogue revision by one, in commit order, inside the same transaction.

    A *stub* is an item or user known only from events: it is kept, but every method here treats it as absent.
    Raises Unavailable("store_unavailable") when the database cannot be reached.
    """

    async def upsert_items(self, items: Sequence[Item]) -> int:
        """Insert or replace whole items in one transaction; `created_at` of an existing item stays. Returns the revision."""

    async def update_item(self, item_id: str, change: Callable[[Item], Item]) -> tuple[Item, int] | None:
        """Read, change and write one item under a row lock. None if there is none. Returns the item and the revision."""

    async def get_item(self, item_id: str) -> Item | None: ...

    async def get_items(self, item_ids: Sequence[str]) -> list[Item]: ...

    async def delete_item(self, item_id: str) -> int | None:
        """Turn the item back into a stub: its events stay usable for training. Returns the revision, None if absent."""

    async def list_items(self, *, after: str | None, limit: int, query: str | None = None) -> list[Item]:
        """Items with id > after in byte order of the id; `query` matches title, brand or id, ignoring case."""

    async def items_changed_since(self, revision: int, limit: int = 5_000) -> ItemChanges: ...

    async def upsert_users(self, users: Sequence[User], *, group_id: str | None = None) -> None:
        """group_id: noted in the same transaction as not yet in the live state, until `EventStore.applied`; None: of its own."""

    async def update_user(
        self, user_id: str, change: Callable[[User], User], *, group_id: str | None = None
    ) -> User | None: ...

    async def get_user(self, user_id: str) -> User | None: ...

    async def list_users(
        self, *, after: str | None, limit: int, query: str | None = None, whole_id: str | None = None
    ) -> list[User]:
        """Users with id > after in byte order of the id; `query` matches the id, text or occupation, ignoring case. whole_id: the id
        that counts as a match in place of one that holds `query`."""


@dataclass(frozen=True)
class TrainingLogReader:
    """All as of one moment. until: number of the newest event. pieces: LOG_COLUMNS of the events and their
    `query`, in time order, read once. slates: SLATE_SCHEMA, what the service has shown, the newest slates of it, read once."""

    items: pl.DataFrame
    users: pl.DataFrame
    until: int
    pieces: AsyncIterator[pl.DataFrame]
    slates: AsyncIterator[pl.DataFrame]


class ShopDataStore(Protocol):
    """Whole-shop reads and writes: import, export, training."""

    async def load(self, data: ShopData, progress: Progress) -> dict[str, int]:
        """Write all three tables by COPY; repeated event ids and items are replaced or skipped, so a repeat is safe.

        Returns counts, e.g. {"items": 1200, "users": 3000, "events": 90000, "events_already_there": 0}.
        """

    async def read(self) -> ShopData:
        """Everything described; retracted events left out."""

    def open_log(self, until: int | None = None) -> AbstractAsyncContextManager[TrainingLogReader]:
        """What training may read: without users whose consent.train is false.

        until: no event with a later number, so that a second reading finds what the first one did, but for what was retracted or
        erased since; None: all.
        """

    async def counts(self) -> dict[str, int]:
        """{"items": …, "users": …, "events": …} of what `read` would return."""
