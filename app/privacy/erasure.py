"""The right to be forgotten: what is held of a user is gone when the reply comes, and the reply says what a trained model still knows.

PostgreSQL is the truth, so the erasure is one transaction there. It also notes whose live states are to be dropped: should this
process die, or Redis go away right then, the repair that every process runs finishes the work. Before, everything that waits in
the bridge must have arrived, or it would come back to life; while either store is away nothing is erased (Unavailable).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.catalogue.item import User
from app.encoding.cache import content_hash
from app.errors import Unavailable
from app.features.texts import user_text
from app.learning.dataset import normal_query
from app.patience import Hold, hold_on
from app.privacy.memory import is_learned, window_of
from app.release.version import ModelVersion, VersionStore

POSTGRES_SECONDS = 20.0
TextHashes = Callable[[User | None, Sequence[str]], Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class ErasedEvent:
    occurred_at: datetime
    received_at: datetime


@dataclass(frozen=True, slots=True)
class ErasedRows:
    """What one transaction took away. sessions: in which the user was recognised. sole_sessions: of these, where nobody else was. lists:
    recommendation ids of the last hour."""

    erased_at: datetime
    profile: bool
    events: Sequence[ErasedEvent]
    impressions: int
    text_vectors: int
    sessions: Sequence[str]
    sole_sessions: Sequence[str]
    lists: Sequence[str]


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the live model was trained on. events: of the user's, at most so many; the others came later or lie outside its window."""

    version: str
    data_from: datetime | None
    data_until: datetime | None
    events: int
    until: str


@dataclass(frozen=True, slots=True)
class Erasure:
    """sessions: whose live state was dropped besides the user's. pending: what the repair finishes within seconds of Redis's return."""

    erased_at: datetime
    profile: bool
    events: int
    impressions: int
    sessions: int
    text_vectors: int
    live_model: Remembered | None
    pending: tuple[str, ...] = ()


class ErasureStore(Protocol):
    """Postgres. Raises Unavailable; then nothing happened."""

    async def erase(self, user_id: str, text_hashes: TextHashes) -> ErasedRows | None:
        """One transaction; None where nothing is held. text_hashes: of the texts whose vectors go, from profile and queries."""


class Traces(Protocol):
    """Redis."""

    async def is_reachable(self) -> bool: ...

    async def erase(
        self, user_id: str, sessions: Sequence[str], sole_sessions: Sequence[str], lists: Sequence[str]
    ) -> bool:
        """Live states, kept lists and refused events. False: some of it may still be there."""


class Settle(Protocol):
    async def __call__(self) -> None: ...


class Eraser:
    """settle: returns when no accepted event is on its way to Postgres, raises Unavailable where that cannot be had. forget_texts:
    empties this process's memory of vectors by text; the others follow the number of the newest erasure."""

    def __init__(
        self, store: ErasureStore, traces: Traces, versions: VersionStore, settle: Settle, forget_texts: Callable[[], None],
        hold: Hold = hold_on,
    ) -> None:  # fmt: skip
        self._store = store
        self._traces = traces
        self._versions = versions
        self._settle = settle
        self._forget_texts = forget_texts
        self._hold = hold

    async def erase(self, user_id: str) -> Erasure | None:
        """None where nothing was held. Raises Unavailable: nothing is erased then, but for an answer of the database that came too
        late; a repetition does what is left."""
        if not await self._traces.is_reachable():
            raise Unavailable(
                "Redis cannot be reached, and what it holds must be erased as well; try again", code="store_unavailable"
            )
        await self._settle()
        live = await self._hold(self._versions.live(), POSTGRES_SECONDS)
        rows = await self._hold(self._store.erase(user_id, hashes_of), POSTGRES_SECONDS)
        self._forget_texts()
        known = (rows.sessions, rows.sole_sessions, rows.lists) if rows else ((), (), ())
        gone = await self._traces.erase(user_id, *known)
        if rows is None:
            return None
        return Erasure(
            rows.erased_at, rows.profile, len(rows.events), rows.impressions, len(rows.sessions), rows.text_vectors,
            live_model=None if live is None else remembered(live, rows.events, rows.erased_at),
            pending=() if gone else ("live_state",),
        )  # fmt: skip


def hashes_of(user: User | None, queries: Sequence[str]) -> list[bytes]:
    """Under which vectors of these texts may be kept."""
    texts = {user_text(user)} if user is not None else set()
    texts.update(normal_query(query) for query in queries)
    return [content_hash(text) for text in texts if text]


def remembered(version: ModelVersion, events: Iterable[ErasedEvent], erased_at: datetime) -> Remembered:
    since, until = window_of(version)
    known = [event for event in events if is_learned(version, event.occurred_at, event.received_at)]
    return Remembered(
        version.version,
        since,
        until,
        len(known),
        f"the next full retrain that starts after {erased_at.isoformat(timespec='seconds').replace('+00:00', 'Z')}",
    )
