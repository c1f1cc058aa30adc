"""Everything that is held of one user, for that user to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.catalogue.item import User
from app.errors import Unavailable
from app.feedback.event import Event, Impression
from app.feedback.state import LiveState, UserState
from app.patience import Hold, hold_on
from app.privacy.erasure import POSTGRES_SECONDS, Settle
from app.privacy.memory import is_learned
from app.privacy.taste import Taste, TasteReader
from app.release.version import ModelVersion, VersionStore
from app.types import Clock, Json, utc_now

MAX_INTERESTS = 1_000


@dataclass(frozen=True, slots=True)
class HeldEvent:
    """retracted_at: taken back, but its id stays taken."""

    event: Event
    received_at: datetime
    retracted_at: datetime | None


@dataclass(frozen=True, slots=True)
class HeldRows:
    """As of one moment. events, impressions: also of sessions in which only this user was recognised; oldest first.
    text_vectors: kept for the words of the profile and queries. sole_sessions: the sessions."""

    profile: User | None
    events: Sequence[HeldEvent]
    impressions: Sequence[Impression]
    text_vectors: int
    sole_sessions: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Holdings:
    """refused: events that the database refused, as they came. learned: ids of the events that the live model may have seen."""

    exported_at: datetime
    rows: HeldRows
    state: UserState
    taste: Taste
    refused: Sequence[dict[str, Json]]
    live_model: ModelVersion | None
    learned: frozenset[str]


class HoldingsStore(Protocol):
    async def read(self, user_id: str) -> HeldRows | None:
        """None where nothing is held. Raises Unavailable."""


class RefusedEvents(Protocol):
    async def refused(self, user_id: str, sole_sessions: Sequence[str]) -> list[dict[str, Json]]:
        """Raises Unavailable."""


class Exporter:
    """settle: see `Eraser`. Whole or not at all: while a store is away it raises Unavailable."""

    def __init__(
        self, store: HoldingsStore, refused: RefusedEvents, live_state: LiveState, taste: TasteReader, versions: VersionStore,
        settle: Settle, *, clock: Clock = utc_now, hold: Hold = hold_on,
    ) -> None:  # fmt: skip
        self._store = store
        self._refused = refused
        self._live_state = live_state
        self._taste = taste
        self._versions = versions
        self._settle = settle
        self._clock = clock
        self._hold = hold

    async def export(self, user_id: str) -> Holdings | None:
        """None where nothing is held. Raises Unavailable."""
        await self._settle()
        rows = await self._hold(self._store.read(user_id), POSTGRES_SECONDS)
        refused = await self._refused.refused(user_id, rows.sole_sessions if rows else ())
        if rows is None and not refused:
            return None
        rows = rows or HeldRows(None, (), (), 0)
        state = await self._live_state.read(user_id, None)
        if state.degraded:
            raise Unavailable("the live state cannot be read at the moment; try again", code="store_unavailable")
        live = await self._hold(self._versions.live(), POSTGRES_SECONDS)
        learned = [held.event.event_id for held in rows.events if is_learned(live, held.event.occurred_at, held.received_at)]  # fmt: skip
        return Holdings(
            self._clock(), rows, state, await self._taste.of(state, MAX_INTERESTS), refused, live, frozenset(learned)
        )
