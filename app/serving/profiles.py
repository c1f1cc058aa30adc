"""Vectors of profile texts at request time: remembered, and encoded together when many requests come at once.

In this process's memory only: a profile given with a request is never stored, and no database stands in a request's way.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections import OrderedDict
from hashlib import blake2b

from app.catalogue.item import User
from app.encoding.encoder import Encoder
from app.features.texts import user_text
from app.types import Float32Array

MAX_REMEMBERED = 4_096  # of vectors, about 6 MB in 384 dimensions, and of texts, 5 MB where a character is a byte
MAX_BATCH = 64
log = logging.getLogger(__name__)


class ProfileTexts:
    """One encoder call at a time; what arrives meanwhile goes into the next. Bound to one event loop."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._known: OrderedDict[str, Float32Array] = OrderedDict()
        self._texts: OrderedDict[bytes, str] = OrderedDict()  # by digest of the profile, which may be long
        self._waiting: dict[str, asyncio.Future[Float32Array]] = {}
        self._task: asyncio.Task[None] | None = None
        self._loading: asyncio.Task[None] | None = None
        self._num_forgotten = 0

    def forget(self) -> None:
        """Every text: somebody was erased, and nobody knows any more which was theirs."""
        self._known.clear()
        self._texts.clear()
        self._num_forgotten += 1

    async def of(self, user: User) -> Float32Array | None:
        """float32 [T] of a profile; None where it says nothing."""
        said = (user.text, user.age, user.gender, user.occupation, user.country, user.tags, user.attributes)
        key = blake2b(repr(said).encode(), digest_size=16).digest()
        text = self._texts.get(key)
        if text is None:
            text = self._texts[key] = user_text(user)
            if len(self._texts) > MAX_REMEMBERED:
                self._texts.popitem(last=False)
        return await self.vector(text) if text.strip() else None

    async def start(self) -> None:
        """Begins to load the encoder, which takes seconds, beside whatever else a process does at its start."""
        self._loading = asyncio.create_task(self._load(), name="load the encoder")

    @property
    def has_loaded(self) -> bool:
        """Or cannot be had."""
        return self._loading is not None and self._loading.done()

    async def loaded(self) -> None:
        """Returns once it is there, or cannot be had."""
        if self._loading is not None:
            await self._loading

    async def _load(self) -> None:
        try:
            await asyncio.to_thread(self._encoder.load)
            gc.freeze()  # libraries and weights stay: the collector need not look at them
        except Exception as error:  # noqa: BLE001 - told again, to whoever asks with a text
            log.warning("the encoder cannot be loaded: %s", error)

    async def vector(self, text: str) -> Float32Array:
        """float32 [T]. Cost: about 10 ms for a text that is new to this process."""
        if text in self._known:
            self._known.move_to_end(text)
            return self._known[text]
        waiting = self._waiting.setdefault(text, asyncio.get_running_loop().create_future())
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._encode_waiting())
        return await asyncio.shield(waiting)

    async def _encode_waiting(self) -> None:
        while self._waiting:
            batch = {text: self._waiting[text] for text in list(self._waiting)[:MAX_BATCH]}
            begun_at = self._num_forgotten
            try:
                vectors = await asyncio.to_thread(self._encoder.encode, list(batch), keep=False)
            except Exception as error:  # noqa: BLE001  every waiter gets it
                for text, future in batch.items():
                    del self._waiting[text]
                    future.set_exception(error)
                continue
            for (text, future), vector in zip(batch.items(), vectors, strict=True):
                del self._waiting[text]
                if begun_at == self._num_forgotten:
                    self._remember(text, vector)
                future.set_result(vector)

    def _remember(self, text: str, vector: Float32Array) -> None:
        self._known[text] = vector
        if len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
