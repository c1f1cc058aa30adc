"""The taste profile in words: what of a shopper's recent events points to which category, brand and tag, and how strongly.

Read from what the next slate reads (the live history and the catalogue), so it is neither older nor other than what is acted on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from app.catalogue.item import Item
from app.feedback.event import EVENT_WEIGHTS
from app.feedback.state import HistoryEntry, LiveState, UserState
from app.types import Clock, utc_now

HALF_LIFE_SECONDS = 30 * 86_400.0
MAX_EVIDENCE = 10  # events named for an interest, the weightiest
Kind = Literal["category", "brand", "tag"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """weight: of the interest's own."""

    event: HistoryEntry
    title: str | None
    weight: float


@dataclass(frozen=True, slots=True)
class Interest:
    """weight: 0-1, the share of all that was done lately, weighted by kind of event and faded by age. num_events: behind it, of
    which `events` are the weightiest."""

    kind: Kind
    value: str
    weight: float
    num_events: int
    events: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class Taste:
    """personal False: the shopper does not agree to personal slates, so none of this is acted on."""

    interests: tuple[Interest, ...]
    personal: bool
    degraded: tuple[str, ...] = ()


class Items(Protocol):
    async def get_items(self, item_ids: Sequence[str]) -> list[Item]: ...


class TasteReader:
    """event_weights: of all types, as in training."""

    def __init__(
        self, live_state: LiveState, items: Items, event_weights: Mapping[str, float] = EVENT_WEIGHTS, clock: Clock = utc_now
    ) -> None:  # fmt: skip
        self._live_state = live_state
        self._items = items
        self._weights = event_weights
        self._clock = clock

    async def read(self, user_id: str, limit: int) -> Taste | None:
        """None for somebody of whom nothing is known. Raises Unavailable."""
        state = await self._live_state.read(user_id, None)
        if state.profile is None and not state.history and not state.purchased and not state.degraded:
            return None
        return await self.of(state, limit)

    async def of(self, state: UserState, limit: int) -> Taste:
        items = await self._items.get_items(sorted({entry.item_id for entry in state.history}))
        found = interests(
            state.history, {item.item_id: item for item in items}, self._weights, self._clock().timestamp()
        )
        personal = state.profile is None or state.profile.consent.personalize
        return Taste(tuple(found[:limit]), personal, state.degraded)


def interests(
    history: Iterable[HistoryEntry], items: Mapping[str, Item], event_weights: Mapping[str, float], now: float
) -> list[Interest]:
    """The strongest first. now: unix seconds. Events on items that nobody described say nothing here."""
    behind: dict[tuple[Kind, str], list[tuple[float, HistoryEntry]]] = defaultdict(list)
    total = 0.0
    for entry in history:
        item = items.get(entry.item_id)
        weight = event_weights.get(entry.type, 1.0) * 0.5 ** (max(now - entry.occurred_at, 0.0) / HALF_LIFE_SECONDS)
        if item is None or weight <= 0:
            continue
        total += weight
        for about in subjects_of(item):
            behind[about].append((weight, entry))
    found = [
        Interest(kind, value, sum(weight for weight, _ in of) / total, len(of), evidence(of, items))
        for (kind, value), of in behind.items()
    ]
    return sorted(found, key=lambda interest: (-interest.weight, interest.kind, interest.value))


def subjects_of(item: Item) -> list[tuple[Kind, str]]:
    """The category as its whole path."""
    of: list[tuple[Kind, str]] = [("category", " > ".join(item.category))] if item.category else []
    of += [("brand", item.brand)] if item.brand else []
    return [*of, *(("tag", tag) for tag in dict.fromkeys(item.tags))]


def evidence(behind: Sequence[tuple[float, HistoryEntry]], items: Mapping[str, Item]) -> tuple[Evidence, ...]:
    total = sum(weight for weight, _ in behind)
    heaviest = sorted(behind, key=lambda pair: (-pair[0], -pair[1].occurred_at))[:MAX_EVIDENCE]
    return tuple(Evidence(entry, items[entry.item_id].title, weight / total) for weight, entry in heaviest)
