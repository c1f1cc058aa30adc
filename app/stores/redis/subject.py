"""A user or a session in Redis: its keys, and its entries to text and back."""

from __future__ import annotations

from typing import Literal, NamedTuple

import orjson

from app.feedback.event import Event, taste_kind_of
from app.feedback.state import HistoryEntry, Whose

LAYOUT = 2  # of states, in their keys and in the mark of who may be believed: those of another release count as none
STATES_OF_ANY_LAYOUT = "[us][^gb]:*"  # `um uh up us ud` and their like were the first


class Subject(NamedTuple):
    kind: Literal["u", "s"]
    name: str

    @property
    def id_name(self) -> Whose:
        return "user_id" if self.kind == "u" else "session_id"

    def state_key(self, prefix: str) -> str:
        """See `packing`."""
        return f"{prefix}:{self.kind}{LAYOUT}:{self.name}"

    def generation_key(self, prefix: str) -> str:
        """A counter that tells who builds a state that a writer came between: see `scripts`."""
        return f"{prefix}:{self.kind}g:{self.name}"

    def bridged_key(self, prefix: str) -> str:
        """History entries of events that wait for Postgres: see `bridge`."""
        return f"{prefix}:{self.kind}b:{self.name}"


def subjects(user_id: str | None, session_id: str | None) -> list[Subject]:
    found = [Subject("u", user_id)] if user_id is not None else []
    return [*found, Subject("s", session_id)] if session_id is not None else found


def to_entry(event: Event) -> HistoryEntry:
    kind = taste_kind_of(event.type, event.value)
    return HistoryEntry(event.item_id, kind, event.occurred_at.timestamp(), event.event_id)


def dump_entry(entry: HistoryEntry) -> str:
    """The same event gives the same text, so adding it to a set twice changes nothing."""
    return orjson.dumps((entry.event_id, entry.item_id, entry.type, entry.occurred_at)).decode()


def load_entries(texts: bytes) -> list[HistoryEntry]:
    """texts: separated by commas."""
    rows = orjson.loads(b"[%b]" % texts)
    return [HistoryEntry(item_id, kind, at, event_id) for event_id, item_id, kind, at in rows]
