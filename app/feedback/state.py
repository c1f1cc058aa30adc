"""Live user state: what the next slate knows of a shopper. Kept in Redis, derived from Postgres at any time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

from app.catalogue.item import User
from app.feedback.event import Event, Impression

MAX_HISTORY = 100


class HistoryEntry(NamedTuple):
    item_id: str
    type: str  # as taste: a low rating is a dislike, see `taste_kind_of`
    occurred_at: float  # unix seconds
    event_id: str


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
    degraded: tuple[str, ...] = ()  # ("user_state",) when it could not be read


class EventStore(Protocol):
    """Postgres side of feedback. Raises Unavailable when the database cannot be reached."""

    async def append(self, events: Sequence[Event]) -> set[str]:
        """Write a group in one transaction, durable on return. Returns the event ids that were new.

        An id seen before (even retracted, even inside this group) is a duplicate and changes nothing. Unknown items and
        users become stubs.
        """

    async def retract(self, event_id: str) -> Event | None:
        """Mark one event as taken back (its id stays taken). None if there is none or it already was."""

    async def history_of(self, *, user_id: str | None, session_id: str | None, limit: int) -> list[Event]:
        """Newest `limit` events that are no impressions, oldest first, retracted ones left out."""

    async def purchased_by(
        self, *, user_id: str | None, session_id: str | None, since: datetime
    ) -> dict[str, float]: ...

    async def opinion_of(
        self, *, user_id: str | None, session_id: str | None, since: datetime, now: datetime, max_seen: int
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Item -> decayed number of times it was shown without an act on it since, the greatest max_seen of each id; and item -> unix
        seconds of the dislike after `since` that stands: not retracted, and no later liking."""


class LiveState(Protocol):
    """Redis side. Never raises for an unreachable Redis: reading degrades, writing marks the state to be rebuilt."""

    async def read(self, user_id: str | None, session_id: str | None) -> UserState:
        """One Redis round trip when warm; what is missing is rebuilt from Postgres and kept."""

    async def apply(self, events: Sequence[Event]) -> None:
        """Add stored events: recent, purchased, dismissed, seen, trends."""

    async def shown(self, impressions: Sequence[Impression]) -> None:
        """Add stored slates of the service: seen, exposures."""

    async def forget(self, *, user_id: str | None = None, session_id: str | None = None) -> None:
        """Drop derived state, so that the next read rebuilds it (profile changed, event retracted, user deleted)."""

    async def trending(self, scenario: str | None, limit: int) -> list[tuple[str, float]]:
        """Items by decayed event weight over the last day, best first; scenario None: all placements."""

    async def exposures(self, item_ids: Sequence[str]) -> dict[str, Exposure]:
        """Of those that were shown at all; empty while Redis cannot be asked."""

    async def announce_catalogue(self, revision: int) -> None: ...


class ImpressionSink(Protocol):
    async def write(self, impressions: Sequence[Impression]) -> None: ...
