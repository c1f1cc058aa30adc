"""States that Redis does not hold, made from Postgres for all who wait in one statement, and kept in one round trip.

The first slate of every visit comes this way. A subject that comes alone is read at once; those that come while MAX_READS are on their way
are the next, together. Bound to one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from app.errors import Invalid, Unavailable
from app.feedback.state import Part, SubjectStore
from app.patience import forget, settles, within
from app.privacy.encryption import TextCipher
from app.stores.redis import scripts
from app.stores.redis.client import Client, Server
from app.stores.redis.packing import pack
from app.stores.redis.part import MAX_DISMISSED, MAX_PURCHASES, greatest
from app.stores.redis.reading import READ_SECONDS
from app.stores.redis.subject import Subject
from app.types import Clock

MAX_READS = 4  # statements on their way
MAX_SUBJECTS = 8  # of one statement: longer ones hold up their first for their last
STATEMENT_SECONDS = 2.0  # longer than anybody waits: a connection that went silent does not keep others from being read
STATE_TTL_SECONDS = 3600  # never prolonged: no error outlives the hour


class Keep(NamedTuple):
    """What must still be so for a state to be kept: its generation, and the mark of the server, from before Postgres was read."""

    generation: bytes
    mark: bytes


@dataclass(slots=True)
class Wanted:
    """keep: of whoever asked last and wants it kept; None: it is not."""

    part: asyncio.Future[Part]
    keep: Keep | None = None


@dataclass(slots=True)
class StateBuilder:
    """execute: runs a pipeline; whether all of it was done. mark: key of `Keep.mark`."""

    store: SubjectStore
    server: Server
    prefix: str
    mark: str
    cipher: TextCipher
    clock: Clock
    execute: Callable[[Client], Awaitable[bool]]
    _waiting: dict[Subject, Wanted] = field(default_factory=dict)
    _reads: set[asyncio.Task[None]] = field(default_factory=set)

    async def build(self, subject: Subject, keep: Keep | None = None) -> Part:
        """As Postgres says it after this call. Right for this reader even if a writer came between and it is not kept: who wrote before us was
        seen. Raises Unavailable."""
        wanted = self._waiting.get(subject)
        if wanted is None:
            wanted = self._waiting[subject] = Wanted(asyncio.get_running_loop().create_future())
            wanted.part.add_done_callback(_heard)
        wanted.keep = keep or wanted.keep
        if sum(not read.done() for read in self._reads) < MAX_READS:
            read = asyncio.create_task(self._work(), name="building of user states")
            self._reads.add(read)
            read.add_done_callback(self._reads.discard)
        return await asyncio.shield(wanted.part)

    async def _work(self) -> None:
        while self._waiting:
            first = next(iter(self._waiting))
            alike = [subject for subject in self._waiting if subject.kind == first.kind]
            batch = {subject: self._waiting.pop(subject) for subject in islice(alike, MAX_SUBJECTS)}
            now = self.clock()
            try:
                parts = await self._parts_of(list(batch), now)
                await self._keep(batch, parts, now)
            except Exception as error:  # noqa: BLE001 - each of them shall hear of it
                for wanted in batch.values():
                    wanted.part.set_exception(error)
                continue
            for wanted, part in zip(batch.values(), parts, strict=True):
                if isinstance(part, Exception):
                    wanted.part.set_exception(part)
                else:
                    wanted.part.set_result(part)

    async def _parts_of(self, batch: Sequence[Subject], now: datetime) -> Sequence[Part | Exception]:
        """Where one name cannot be asked for, each is asked for alone: whoever brought it hears of it, and nobody else."""
        names = [subject.name for subject in batch]
        try:
            found = await within(self.store.parts_of(batch[0].id_name, names, now), STATEMENT_SECONDS)
        except TimeoutError as error:
            raise Unavailable("the database took too long; try again", code="store_unavailable") from error
        except Invalid as error:
            if len(batch) == 1:
                return [error]
            return [part for subject in batch for part in await self._parts_of([subject], now)]
        return [part if isinstance(part, Unavailable) else _limited(part) for part in found]

    async def _keep(self, batch: dict[Subject, Wanted], parts: Sequence[Part | Exception], now: datetime) -> None:
        pipe = self.server.client.pipeline(transaction=False)
        for (subject, wanted), part in zip(batch.items(), parts, strict=True):
            if wanted.keep is not None and isinstance(part, Part):
                keys = subject.state_key(self.prefix), subject.generation_key(self.prefix), self.mark
                packed = pack(part, now, self.cipher)
                pipe.eval(scripts.STORE, len(keys), *keys, *wanted.keep, STATE_TTL_SECONDS, packed)
        if len(pipe):
            keeping = asyncio.ensure_future(self.execute(pipe))
            if not await settles(keeping, READ_SECONDS):
                forget(keeping)


def _limited(part: Part) -> Part:
    return part._replace(
        purchased=greatest(part.purchased, MAX_PURCHASES), dismissed=greatest(part.dismissed, MAX_DISMISSED)
    )


def _heard(part: asyncio.Future[Part]) -> None:
    """Whoever asked may be gone when it fails: no news then."""
    if not part.cancelled():
        part.exception()
