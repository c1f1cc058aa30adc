"""What Redis holds of shoppers, read for all who wait in one round trip.

A read that comes alone goes at once; those that come while one is on its way are the next. So under load a round trip, which costs this
process more than all it brings, is shared, and there is no queue of connections. Bound to one event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from app.feedback.state import MAX_HISTORY, HistoryEntry
from app.patience import settles
from app.stores.redis import scripts
from app.stores.redis.client import FAILURES, Server
from app.stores.redis.subject import Subject, load_entries

READ_SECONDS = 0.04  # a healthy answer takes less than a millisecond, one behind a write to a busy disk up to 20
MAX_SUBJECTS = 64  # of one round trip: 2 ms of Redis


class Held(NamedTuple):
    """Of one subject. state: see `packing`; None where there is none. generation: moved by every writer then. bridged: of events that
    Postgres does not have yet."""

    state: bytes | None
    generation: bytes
    bridged: Sequence[HistoryEntry]


class Answer(NamedTuple):
    """revision: of the catalogue. valid_for: run id of the server whose states may be believed. held: in the order asked for."""

    revision: int
    valid_for: bytes | None
    held: Sequence[Held]


@dataclass(frozen=True, slots=True)
class Reading:
    wanted: Sequence[Subject]
    answer: asyncio.Future[Answer | None]


class StateReader:
    """mark: key of `Answer.valid_for`."""

    def __init__(self, server: Server, prefix: str, mark: str) -> None:
        self._server = server
        self._prefix = prefix
        self._mark = mark
        self._waiting: deque[Reading] = deque()
        self._task: asyncio.Task[None] | None = None

    async def read(self, wanted: Sequence[Subject]) -> Answer | None:
        """None where Redis does not answer in time."""
        reading = Reading(wanted, asyncio.get_running_loop().create_future())
        self._waiting.append(reading)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work(), name="reading of user states")
        return await reading.answer

    async def _work(self) -> None:
        while self._waiting:
            batch = self._take()
            answers: Sequence[Answer | None]
            try:
                answers = await self._ask(batch) if self._server.may_be_asked() else [None] * len(batch)
            except FAILURES as error:
                self._server.rest(f"a user state: {type(error).__name__} {error}")
                answers = [None] * len(batch)
            except Exception as error:  # noqa: BLE001 - each of them shall hear of it
                for reading in batch:
                    if not reading.answer.done():
                        reading.answer.set_exception(error)
                continue
            for reading, answer in zip(batch, answers, strict=True):
                if not reading.answer.done():
                    reading.answer.set_result(answer)

    def _take(self) -> list[Reading]:
        batch = [self._waiting.popleft()]
        num = len(batch[0].wanted)
        while self._waiting and num + len(self._waiting[0].wanted) <= MAX_SUBJECTS:
            batch.append(self._waiting.popleft())
            num += len(batch[-1].wanted)
        return batch

    async def _ask(self, batch: Sequence[Reading]) -> list[Answer]:
        keys = [f"{self._prefix}:rev", self._mark]
        for reading in batch:
            for subject in reading.wanted:
                keys += [
                    subject.state_key(self._prefix),
                    subject.generation_key(self._prefix),
                    subject.bridged_key(self._prefix),
                ]
        asking = asyncio.ensure_future(self._server.client.eval(scripts.READ, len(keys), *keys, MAX_HISTORY))
        if not await settles(asking, READ_SECONDS):
            asking.add_done_callback(self._heard_late)
            raise TimeoutError(f"no answer within {READ_SECONDS * 1e3:.0f} ms")
        revision, valid_for, *values = asking.result()
        each = iter(values)
        held = (
            Held(state, generation or b"", load_entries(bridged))
            for state, generation, bridged in zip(each, each, each, strict=True)
        )
        return [Answer(int(revision or 0), valid_for, list(islice(held, len(one.wanted)))) for one in batch]

    def _heard_late(self, asking: asyncio.Task[Any]) -> None:
        """A stall is over as soon as the answer comes, and not half a second later: what reads past Redis costs far more."""
        if not asking.cancelled() and asking.exception() is None:
            self._server.wake()
