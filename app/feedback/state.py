"""Live user state: what the next slate knows of a shopper. Kept in Redis, derived from Postgres at any time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Literal, NamedTuple, Protocol

from app.catalogue.item import User
from app.errors import Unavailable
from app.feedback.event import Event, Impression

MAX_HISTORY = 100
Whose = Literal["user_id", "session_id"]


class HistoryEntry(NamedTuple):
    item_id: str
    type: str  # as taste: a low rating is a dislike, see `taste_kind_of`
    occurred_at: float  # unix seconds
    event_id: str


class History(tuple[HistoryEntry, ...]):
    """Of a state that may be given to several readers, one after the other."""

    @cached_property
    def notes(self) -> dict[str, Any]:
        """What readers worked out of these entries, for the next one; each under a name of its own."""
        return {}


class Part(NamedTuple):
    """What is known of one subject, a user or a session. history: by time, then by event id, impressions and retracted events left out.
    purchased: item -> unix seconds of the last one. seen: item -> decayed number of times it was shown without an act on it since, as of
    some moment. dismissed: item -> unix seconds of the dislike that stands, however old: not retracted, and no later liking."""

    history: Sequence[HistoryEntry]
    purchased: Mapping[str, float]
    seen: Mapping[str, float]
    dismissed: Mapping[str, float]
    profile: User | None


class Exposure(NamedTuple):
    """How often an item was shown of late, whoever to, and how often acted on."""

    shown: float
    acted: float


@dataclass(frozen=True, slots=True)
class UserState:
    """history: newest last, at most MAX_HISTORY, impressions left out. purchased: item -> unix seconds of the last one.

    seen: item -> decayed number of times it was shown, as of now. dismissed: item -> unix seconds of the dislike that stands.
    profile: the stored description of the user, if any. A user and a session asked for together come as one state.
    """

    history: tuple[HistoryEntry, ...] = ()
    purchased: Mapping[str, float] = field(default_factory=dict)
    seen: Mapping[str, float] = field(default_factory=dict)
    dismissed: Mapping[str, float] = field(default_factory=dict)
    profile: User | None = None
    catalogue_revision: int = 0  # newest revision any process wrote; ahead of ours: catch up before serving
    degraded: tuple[
        str, ...
    ] = ()  # ("user_state",) while Redis is away or being rebuilt, or when nothing could be read


@dataclass(frozen=True, slots=True)
class UnappliedGroup:
    """Durable and perhaps not in the live state: events first_seq to last_seq (None: none), and shoppers changed otherwise.

    Of an erasure also the sessions that were only the erased user's, and the ids of lists; its events are 0 to 0."""

    group_id: str
    first_seq: int | None
    last_seq: int | None
    users: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    sole_sessions: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()

    @property
    def is_erasure(self) -> bool:
        return self.first_seq == 0


class EventStore(Protocol):
    """Postgres side of feedback. Raises Unavailable when the database cannot be reached."""

    async def append(self, events: Sequence[Event], *, group_id: str | None = None) -> set[str]:
        """Write a group in one transaction, durable on return. Returns the event ids that were new.

        An id seen before (even retracted, even inside this group) is a duplicate and changes nothing. Unknown items and
        users become stubs. group_id: noted in the same transaction as not yet in the live state, until `applied`; used again,
        it also covers what came between.
        """

    async def applied(self, group_ids: Sequence[str], *, older_than: timedelta | None = None) -> None:
        """The live state has these groups. older_than: except where one was written again since."""

    async def retract(self, event_id: str, *, group_id: str | None = None) -> Event | None:
        """Mark one event as taken back (its id stays taken). None if there is none or it already was."""


class SubjectStore(Protocol):
    async def parts_of(self, whose: Whose, names: Sequence[str], now: datetime) -> Sequence[Part | Unavailable]:
        """Of each, in order: the newest MAX_HISTORY events, purchases of MAX_PURCHASED_DAYS, the MAX_SEEN items seen most often as of now.

        In place of somebody whose profile cannot be read, why. Raises Unavailable when the database cannot be reached.
        """


class LiveState(Protocol):
    """Redis side. Never raises for an unreachable Redis: reading degrades, writing marks the state to be rebuilt."""

    async def read(self, user_id: str | None, session_id: str | None) -> UserState:
        """One Redis round trip when warm; what is missing is rebuilt from Postgres and kept."""

    async def apply(self, events: Sequence[Event]) -> bool:
        """Add durable events: recent, purchased, dismissed, seen, trends. False: some of it may be missing, and is going to be
        rebuilt."""

    async def shown(self, impressions: Sequence[Impression]) -> None:
        """Add stored slates of the service: seen, exposures."""

    async def take_back(self, event: Event) -> bool:
        """The opposite of `apply`, for one event that the store has retracted."""

    async def forget(self, *, user_id: str | None = None, session_id: str | None = None) -> bool:
        """Drop derived state, so that the next read rebuilds it (profile changed, event retracted, user deleted)."""

    async def forget_users(self, user_ids: Sequence[str]) -> bool:
        """The same for many, at once."""

    async def forget_shoppers_of(self, events: Sequence[Event]) -> bool:
        """The same for everybody in these events."""

    async def recount_trends(self) -> None:
        """Have the trends counted anew from the store, in the background."""

    async def trending(self, scenario: str | None, limit: int) -> list[tuple[str, float]]:
        """Items by decayed event weight over the last day, best first; scenario None: all placements."""

    async def exposures(self, item_ids: Sequence[str]) -> dict[str, Exposure]:
        """Of those that were shown at all; empty while Redis cannot be asked."""

    async def announce_catalogue(self, revision: int) -> None: ...


class EventBridge(Protocol):
    """Where events are kept while Postgres is away: durable, in order, bounded. Every method raises Unavailable."""

    async def append(self, events: Sequence[Event]) -> set[str]:
        """Keep a group, all of it or nothing, durable on return. Returns the event ids that it did not hold before.

        Raises Unavailable("backlog_full") as well, Invalid for a value that Postgres would refuse later.
        """

    async def oldest(self, limit: int) -> list[tuple[str, Event]]:
        """(handle, event) in the order they came."""

    async def remove(self, handles: Sequence[tuple[str, Event]]) -> None:
        """They are in Postgres."""

    async def refuse(self, handle: tuple[str, Event], why: str) -> None:
        """Postgres will never take this one: it leaves the queue and is kept aside for people."""

    async def length(self) -> int: ...

    async def lease(self, owner: str, seconds: float) -> bool:
        """Whether `owner` is the one who may drain for the next `seconds`."""


class ImpressionSink(Protocol):
    async def write(self, impressions: Sequence[Impression]) -> None: ...
