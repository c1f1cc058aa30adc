"""When keys were last used: noted with every request, written in groups, so that no request waits for it."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime

from app.access.key_ring import SETTINGS_KEY_ID
from app.access.keys import ApiKey, KeyStore
from app.errors import Unavailable
from app.types import Clock, utc_now

WRITE_SECONDS = 30.0


class KeyUse:
    """One for each process, between `start` and `close`. Holds one time for each key used since the last write."""

    def __init__(self, store: KeyStore, clock: Clock = utc_now) -> None:
        self._store = store
        self._clock = clock
        self._used_at: dict[str, datetime] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._write_forever(), name="key use")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            await self.write()

    def note(self, key: ApiKey) -> None:
        """Cost: one look into a dictionary."""
        if key.key_id not in self._used_at and key.key_id != SETTINGS_KEY_ID:
            self._used_at[key.key_id] = self._clock()

    async def write(self) -> None:
        """While the store is away they are kept."""
        taken, self._used_at = self._used_at, {}
        try:
            await self._store.note_uses(taken)
        except Unavailable:
            self._used_at = {**taken, **self._used_at}

    async def _write_forever(self) -> None:
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            with contextlib.suppress(Exception):  # a time that is lost harms nobody; the loop must live on
                await self.write()
