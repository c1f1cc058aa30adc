"""What about a request may have carried its items, and the request as it would be without that.

All events on one item are one cause, together with the item's place among what is being looked at now.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from app.features.users import HISTORY_LENGTH, KINDS, STRENGTH
from app.serving.live import LiveSnapshot
from app.serving.rules import Asked

CauseKind = Literal["history", "context", "taste", "cart", "profile", "query"]


@dataclass(frozen=True, slots=True)
class Cause:
    """item_id, event: of history and context; event is the strongest one, "" where the item is only looked at. words: of a query."""

    kind: CauseKind
    item_id: str = ""
    event: str = ""
    words: str = ""


def item_causes(asked: Asked, live: LiveSnapshot) -> list[Cause]:
    """Every item that left a trace in what retrieval reads of the shopper, newest first."""
    strongest: dict[str, str] = {}
    viewed = [item_id for item_id in asked.request.context_items if live.history_row(item_id) is not None]
    if asked.personal:
        traced = [entry for entry in asked.state.history if live.history_row(entry.item_id) is not None]
        kept = max(HISTORY_LENGTH - len(viewed), 0)
        for entry in reversed(traced[-kept:] if kept else []):
            known = strongest.setdefault(entry.item_id, entry.type)
            if _strength(entry.type) > _strength(known):
                strongest[entry.item_id] = entry.type
    now = [Cause("context", item_id, strongest.get(item_id, "")) for item_id in dict.fromkeys(reversed(viewed))]
    return now + [Cause("history", item_id, event) for item_id, event in strongest.items() if item_id not in viewed]


def other_causes(asked: Asked, items: Sequence[Cause]) -> list[Cause]:
    """The history as a whole, and what is looked at now, where each is more than one item; the profile, and the words asked with."""
    past, words = [cause for cause in items if cause.event], asked.words
    whole = [Cause("taste")] if len(past) > 1 else []
    cart = [Cause("cart")] if sum(cause.kind == "context" for cause in items) > 1 else []
    profile = [Cause("profile")] if asked.profile_T is not None else []
    query = [Cause("query", words=words.interpretation.text)] if words and words.vector_T is not None else []
    return [*whole, *cart, *profile, *query]


def without(asked: Asked, cause: Cause) -> Asked:
    """The same request as if the cause had never been. What is bought stays bought, and what the words of a query demand or forbid is kept:
    rules of the slate are not undone."""
    if cause.kind == "profile":
        return replace(asked, profile_T=None)
    if cause.kind == "query":
        return replace(asked, words=replace(asked.words, vector_T=None) if asked.words else None)
    if cause.kind == "taste":
        return replace(asked, state=replace(asked.state, history=()))
    gone = set(asked.request.context_items) if cause.kind == "cart" else {cause.item_id}
    history = tuple(entry for entry in asked.state.history if entry.item_id not in gone)
    viewed = tuple(item_id for item_id in asked.request.context_items if item_id not in gone)
    return replace(
        asked,
        state=replace(asked.state, history=history),
        request=asked.request if cause.kind == "history" else replace(asked.request, context_items=viewed),
    )


def _strength(event: str) -> int:
    return int(STRENGTH[KINDS.get(event, 0)])
