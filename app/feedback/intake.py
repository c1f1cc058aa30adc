"""Where events come in: durable first (see `durable`), then live.

Group commit: while one transaction is written, further submits gather, and the next transaction takes them all. Nobody
waits on purpose, and under load a commit is shared by hundreds.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from app.errors import DuosceneError, Unavailable
from app.feedback.durable import DurableEvents, Kept
from app.feedback.event import Event
from app.feedback.state import EventBridge, EventStore, LiveState
from app.patience import Hold, hold_on

GROUP_EVENTS = 2_000  # one transaction; a single larger submit is a group of its own
MAX_PUBLISHING = 8  # groups that are durable and on their way to the live state
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Submit:
    events: Sequence[Event]
    new_ids: asyncio.Future[set[str]]


class FeedbackIntake:
    """One for each process, between `start` and `close`. max_pending: events waiting before callers are turned away.

    bridge, hold: see `DurableEvents`.
    """

    def __init__(
        self, events: EventStore, live: LiveState, max_pending: int = 50_000, bridge: EventBridge | None = None,
        hold: Hold = hold_on,
    ) -> None:  # fmt: skip
        self._durable = DurableEvents(events, live, bridge, hold)
        self._live = live
        self._max_pending = max_pending
        self._waiting: deque[Submit] = deque()
        self._arrived = asyncio.Event()
        self._publishing: set[asyncio.Task[None]] = set()
        self._writer: asyncio.Task[None] | None = None
        self.pending = 0
        self.groups_written = 0

    async def start(self) -> None:
        await self._durable.start()
        self._writer = asyncio.create_task(self._write_groups(), name="feedback intake")

    async def close(self) -> None:
        """Refuse new events, write those that wait."""
        writer, self._writer = self._writer, None
        self._arrived.set()
        if writer is not None:
            await writer
        await asyncio.gather(*self._publishing)
        await self._durable.close()

    async def submit(self, events: Sequence[Event]) -> set[str]:
        """Durable and seen by the user's next slate on return. Returns the event ids that were new.

        A caller that goes away while waiting takes nothing back. Raises Unavailable("store_unavailable" | "backlog_full").
        """
        if not events:
            return set()
        if self._writer is None:
            raise Unavailable("the service is shutting down; send the events again", code="store_unavailable")
        if self.pending + len(events) > self._max_pending:
            raise Unavailable(f"{self.pending} events wait to be written; send again later", code="backlog_full")
        submit = Submit(events, asyncio.get_running_loop().create_future())
        self.pending += len(events)
        self._waiting.append(submit)
        self._arrived.set()
        return await submit.new_ids

    async def retract(self, event_id: str) -> bool:
        """Take one event back, from the live state as well. False if there is none or it was taken back before."""
        event, group_id = await self._durable.retract(event_id)
        if event is None:
            return False
        self._durable.confirm(group_id, is_live=await self._live.take_back(event))
        return True

    def confirm(self, group_id: str) -> None:
        """The live state has this group of changes."""
        self._durable.confirm(group_id, is_live=True)

    async def settle(self) -> None:
        """Until every event accepted so far is in the store. Raises Unavailable where that cannot be known."""
        await self._durable.settle()

    async def _write_groups(self) -> None:
        while self._waiting or self._writer is not None:
            if not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            group = self._next_group()
            await self._write(group)
            while len(self._publishing) >= MAX_PUBLISHING:
                await asyncio.wait(self._publishing, return_when=asyncio.FIRST_COMPLETED)

    def _next_group(self) -> list[Submit]:
        group = [self._waiting.popleft()]
        size = len(group[0].events)
        while self._waiting and size + len(self._waiting[0].events) <= GROUP_EVENTS:
            group.append(self._waiting.popleft())
            size += len(group[-1].events)
        self.pending -= size
        return group

    async def _write(self, group: list[Submit]) -> None:
        events = [event for submit in group for event in submit.events]
        try:
            kept = await self._durable.keep(events)
        except Exception as error:
            is_away = isinstance(error, Unavailable) and error.code != "backlog_full"
            if len(group) > 1 and not is_away:
                # Somebody's bad value, or a group that is too large, must not fail the others.
                for submit in group:
                    await self._write([submit])
                return
            if not isinstance(error, DuosceneError):
                log.exception("a group of %d events could not be written", len(events))
            fail(group, error)
        else:
            self.groups_written += 1
            publishing = asyncio.create_task(self._publish(group, events, kept))
            self._publishing.add(publishing)
            publishing.add_done_callback(self._publishing.discard)

    async def _publish(self, group: list[Submit], events: list[Event], kept: Kept) -> None:
        """Bring a durable group to the live state, then answer.

        A duplicate may be the retry of a caller whose first answer was lost with the process that should have updated the
        live state: its user is rebuilt.
        """
        try:
            is_live = await self._live.apply(fresh(events, kept.new_ids))
            repeated = {(event.user_id, event.session_id) for event in events if event.event_id not in kept.new_ids}
            for user_id, session_id in repeated:
                is_live &= await self._live.forget(user_id=user_id, session_id=session_id)
            self._durable.confirm(kept.group_id, is_live=is_live)
        except Exception:  # the events are durable: the answer is yes
            log.exception("the live state could not be updated")
            self._durable.confirm(kept.group_id, is_live=False)
        left = set(kept.new_ids)
        for submit in group:
            mine = left & {event.event_id for event in submit.events}
            left -= mine
            if not submit.new_ids.done():
                submit.new_ids.set_result(mine)


def fresh(events: Sequence[Event], new_ids: Collection[str]) -> Sequence[Event]:
    """The new ones, of an id that comes twice the first, as it is in the store."""
    if len(new_ids) == len(events):
        return events
    firsts = {event.event_id: event for event in reversed(events)}
    return [event for event in events if event.event_id in new_ids and firsts[event.event_id] is event]


def fail(group: list[Submit], error: Exception) -> None:
    for submit in group:
        if not submit.new_ids.done():
            submit.new_ids.set_exception(error)
