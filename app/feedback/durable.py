"""Where a group of events becomes durable: Postgres, or the bridge while Postgres is away.

Order: once a group of this process went over the bridge, the next ones follow it there until it is empty, so that no event of a
process overtakes an earlier one. One process at a time (a lease in the bridge) brings what waits there to Postgres, oldest first;
an event id makes each arrive once, however often that is interrupted.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from ulid import ULID

from app.errors import Invalid, Unavailable
from app.feedback.event import Event
from app.feedback.state import EventBridge, EventStore, LiveState
from app.observability.metrics import record_bridged
from app.patience import Hold, hold_on

POSTGRES_SECONDS = 20.0  # for a group, while the database shows signs of life
LOOK_SECONDS = 0.5  # at the bridge
FAULT_SECONDS = 5.0  # until the next look after a fault that somebody has to see to
LEASE_SECONDS = 10.0  # of a drainer that was killed
DRAIN_EVENTS = 1_000  # one transaction
SETTLE_SECONDS = 10.0
CONFIRM_SECONDS = 1.0
CLOSE_SECONDS = 1.0
MAX_UNCONFIRMED = 10_000
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kept:
    """new_ids: the others were known. group_id: to be confirmed once the live state has the group; None over the bridge."""

    new_ids: set[str]
    group_id: str | None


class DurableEvents:
    """One for each process, between `start` and `close`. bridge None: without Postgres nothing is accepted."""

    def __init__(
        self, events: EventStore, live: LiveState, bridge: EventBridge | None = None, hold: Hold = hold_on
    ) -> None:
        self._events = events
        self._live = live
        self._bridge = bridge
        self._hold = hold
        self._owner = secrets.token_hex(8)
        self._is_bridged = False
        self._looked = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._confirmed: list[str] = []
        self._open_group: str | None = None  # the live state missed it; what follows is noted under the same id
        self._missed: deque[str] = deque(maxlen=64)  # far more than are on their way at a time

    async def start(self) -> None:
        self._tasks = [asyncio.create_task(self._confirm(), name="confirm live groups")]
        if self._bridge is not None:
            self._tasks.append(asyncio.create_task(self._watch_bridge(), name="bridge drainer"))

    async def close(self) -> None:
        """What waits in the bridge stays there, for the next process."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
            await asyncio.wait([task], timeout=CLOSE_SECONDS)
        await self._send_confirmations()

    async def keep(self, events: Sequence[Event]) -> Kept:
        """Durable on return. Raises Unavailable, then nothing was kept; Invalid for a value that cannot be kept."""
        if self._is_bridged and self._bridge is not None:
            try:
                return await self._keep_in_bridge(self._bridge, events)
            except Unavailable as error:
                if error.code == "backlog_full":
                    raise
                return await self._keep_in_store(events)
        try:
            return await self._keep_in_store(events)
        except Unavailable:
            if self._bridge is None:
                raise
            return await self._keep_in_bridge(self._bridge, events)

    async def _keep_in_store(self, events: Sequence[Event]) -> Kept:
        group_id = self._open_group or str(ULID())
        new_ids = await self._hold(self._events.append(events, group_id=group_id), POSTGRES_SECONDS)
        return Kept(new_ids, group_id)

    async def _keep_in_bridge(self, bridge: EventBridge, events: Sequence[Event]) -> Kept:
        try:
            new_ids = await bridge.append(events)
        except Unavailable as error:
            self._is_bridged |= error.code == "backlog_full"  # what follows need not wait for the database again
            raise
        if not self._is_bridged:
            log.warning("the database is away: events wait in Redis, on disk, until it is back")
        self._is_bridged = True
        record_bridged(len(new_ids))
        return Kept(new_ids, None)

    def confirm(self, group_id: str | None, *, is_live: bool) -> None:
        """The live state has the group, or missed it: then whoever repairs finds it in Postgres."""
        if group_id is None:
            return
        if not is_live:
            self._open_group = group_id
            self._missed.append(group_id)
        elif group_id in self._missed:  # this part of it is live, an earlier one is not
            self._open_group = None
        elif len(self._confirmed) < MAX_UNCONFIRMED:
            self._confirmed.append(group_id)

    async def retract(self, event_id: str) -> tuple[Event | None, str]:
        """The event that was taken back, and the group to confirm. Raises Unavailable while its store is away."""
        await self._settle()
        group_id = str(ULID())
        return await self._hold(self._events.retract(event_id, group_id=group_id), POSTGRES_SECONDS), group_id

    async def settle(self) -> None:
        """Wait until no accepted event is outside of the store. Raises Unavailable where that cannot be known."""
        await self._settle()
        if self._bridge is not None and await self._bridge.length():
            raise Unavailable("events wait for the database; try again", code="store_unavailable")

    async def _settle(self) -> None:
        """Wait until nothing is in the bridge: what is to be taken back may be there."""
        if self._bridge is None:
            return
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                while await self._bridge.length():
                    self._looked.clear()
                    await self._looked.wait()
        except TimeoutError as error:
            raise Unavailable(
                "events wait for the database; take this one back later", code="store_unavailable"
            ) from error
        except Unavailable:  # Redis is away: what it holds cannot be asked, and the store knows the rest
            if self._is_bridged:
                raise

    async def _watch_bridge(self) -> None:
        assert self._bridge is not None
        while True:
            pause = LOOK_SECONDS
            try:
                if await self._drain(self._bridge):
                    self._is_bridged = False
            except Unavailable:
                pass
            except Exception:
                log.exception("the bridge could not be drained; the events stay in it")
                pause = FAULT_SECONDS
            self._looked.set()
            await asyncio.sleep(pause)

    async def _drain(self, bridge: EventBridge) -> bool:
        """Everything that waits, oldest first, if nobody else is at it. True: the bridge is empty."""
        num_drained = 0
        while await bridge.length():
            if not await bridge.lease(self._owner, LEASE_SECONDS):
                return False
            handles = await bridge.oldest(DRAIN_EVENTS)
            if handles:
                await self._move(bridge, handles)
                num_drained += len(handles)
        if num_drained:
            log.warning("%d events that waited in Redis are in the database now", num_drained)
            await self._live.recount_trends()
        return True

    async def _move(self, bridge: EventBridge, handles: list[tuple[str, Event]]) -> None:
        """To Postgres, then out of the bridge: interrupted anywhere, it can be done again. The shoppers' states are derived anew,
        because nobody knew which of the events were repetitions. Raises whatever is wrong with the database and no value's fault."""
        events = [event for _, event in handles]
        try:
            kept = await self._keep_in_store(events)
        except Invalid as error:  # somebody's bad value must not hold up the others
            if len(handles) > 1:
                for handle in handles:
                    await self._move(bridge, [handle])
                return
            log.error("an event waited in Redis and the database refuses it: it is kept aside")
            await bridge.refuse(handles[0], str(error)[:500])
            return
        self.confirm(kept.group_id, is_live=await self._live.forget_shoppers_of(events))
        await bridge.remove(handles)

    async def _confirm(self) -> None:
        while True:
            await asyncio.sleep(CONFIRM_SECONDS)
            await self._send_confirmations()

    async def _send_confirmations(self) -> None:
        """Late or never is no harm: the repair then drops states that were right."""
        group_ids, self._confirmed = self._confirmed, []
        if not group_ids:
            return
        try:
            await self._hold(self._events.applied(group_ids), POSTGRES_SECONDS)
        except Unavailable:
            self._confirmed = (group_ids + self._confirmed)[:MAX_UNCONFIRMED]
        except Exception:
            log.exception("%d groups could not be confirmed", len(group_ids))
