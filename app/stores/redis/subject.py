"""A user or a session in Redis: its keys, and its state to bytes and back."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Literal, NamedTuple

import orjson

from app.catalogue.item import Consent, User
from app.feedback.event import Event, taste_kind_of
from app.feedback.state import MAX_HISTORY, HistoryEntry
from app.privacy.encryption import StoredText, TextCipher

NO_PROFILE = b"-"
PARTS = "mhpgsd"  # of a subject's keys


class Subject(NamedTuple):
    kind: Literal["u", "s"]
    name: str

    @property
    def id_name(self) -> str:
        return "user_id" if self.kind == "u" else "session_id"

    def keys(self, prefix: str) -> list[str]:
        """State mark, history, purchases, generation, seen, dislikes: see `scripts`."""
        return [f"{prefix}:{self.kind}{part}:{self.name}" for part in PARTS]

    def bridged_key(self, prefix: str) -> str:
        """History entries of events that wait for Postgres: see `bridge`."""
        return f"{prefix}:{self.kind}b:{self.name}"


def subjects(user_id: str | None, session_id: str | None) -> list[Subject]:
    found = [Subject("u", user_id)] if user_id is not None else []
    return [*found, Subject("s", session_id)] if session_id is not None else found


def dump_entry(entry: HistoryEntry) -> str:
    """As a set member: the same event gives the same text, so adding it twice changes nothing."""
    return orjson.dumps((entry.event_id, entry.item_id, entry.type, entry.occurred_at)).decode()


def load_entries(members: bytes) -> list[HistoryEntry]:
    """members: set members, separated by commas."""
    rows = orjson.loads(b"[%b]" % members)
    make = tuple.__new__  # what a named tuple's own constructor calls, by a detour that costs as much again
    return [make(HistoryEntry, (item_id, kind, at, event_id)) for event_id, item_id, kind, at in rows]


def to_entry(event: Event) -> HistoryEntry:
    kind = taste_kind_of(event.type, event.value)
    return HistoryEntry(event.item_id, kind, event.occurred_at.timestamp(), event.event_id)


def merge_histories(histories: Iterable[Sequence[HistoryEntry]]) -> tuple[HistoryEntry, ...]:
    """By time, each event once, the newest MAX_HISTORY."""
    entries = {entry.event_id: entry for history in histories for entry in history}
    return tuple(sorted(entries.values(), key=attrgetter("occurred_at", "event_id"))[-MAX_HISTORY:])


def merge_latest(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The greatest figure of each item: the last purchase or dislike, or what the one subject saw that saw it more often."""
    given = [part for part in parts if part]
    if len(given) == 1:
        return dict(given[0])
    merged: dict[str, float] = {}
    for part in given:
        for item_id, at in part.items():
            merged[item_id] = max(at, merged.get(item_id, at))
    return merged


def dump_profile(user: User | None, cipher: TextCipher) -> bytes:
    if user is None:
        return NO_PROFILE
    stored = cipher.encrypt(user.text)
    values = dataclasses.asdict(user) | {"text": stored.text, "text_key": stored.key}
    return json.dumps(values, default=datetime.isoformat).encode()


def load_profile(data: bytes, cipher: TextCipher) -> User | None:
    """Raises Unavailable for a text whose key is missing."""
    if data == NO_PROFILE:
        return None
    values = json.loads(data)
    values["text"] = cipher.decrypt(StoredText(values["text"], values.pop("text_key", None)))
    values["tags"] = tuple(values["tags"])
    values["consent"] = Consent(**values["consent"])
    if values["created_at"] is not None:
        values["created_at"] = datetime.fromisoformat(values["created_at"])
    return User(**values)
