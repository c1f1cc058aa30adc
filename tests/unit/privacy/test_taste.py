"""What recent events say of categories, brands and tags, by hand."""

from __future__ import annotations

import pytest

from app.catalogue.item import Item
from app.feedback.event import EVENT_WEIGHTS
from app.feedback.state import HistoryEntry
from app.privacy.taste import HALF_LIFE_SECONDS, MAX_EVIDENCE, interests

NOW = 1_800_000_000.0
ITEMS = {
    "pan": Item("pan", "Bread pan", category=("Kitchen", "Baking"), brand="Iron", tags=("bread", "gift", "bread")),
    "tin": Item("tin", "Cake tin", category=("Kitchen", "Baking"), brand="Tin & Co"),
    "rod": Item("rod", "Rod", category=("Fishing",), brand="Iron"),
    "bare": Item("bare", "A thing"),
}


def entry(item_id: str, kind: str, half_lives_ago: float = 0.0) -> HistoryEntry:
    return HistoryEntry(item_id, kind, NOW - half_lives_ago * HALF_LIFE_SECONDS, f"{kind}-{item_id}")


def test_weights_fade_with_age_and_depend_on_the_kind_of_event() -> None:
    """A purchase (3) a half-life ago 1.5, a click (1) now 1, a cart addition (2) two half-lives ago 0.5: 3 in all."""
    history = [entry("tin", "cart_add", 2), entry("pan", "purchase", 1), entry("rod", "click")]
    found = {(one.kind, one.value): one for one in interests(history, ITEMS, EVENT_WEIGHTS, NOW)}
    assert {about: one.weight for about, one in found.items()} == pytest.approx(
        {
            ("category", "Kitchen > Baking"): 2 / 3,
            ("category", "Fishing"): 1 / 3,
            ("brand", "Iron"): 2.5 / 3,
            ("brand", "Tin & Co"): 0.5 / 3,
            ("tag", "bread"): 0.5,
            ("tag", "gift"): 0.5,
        }
    )
    iron = found["brand", "Iron"]
    assert [(one.event.event_id, one.title, one.weight) for one in iron.events] == [
        ("purchase-pan", "Bread pan", pytest.approx(0.6)), ("click-rod", "Rod", pytest.approx(0.4)),
    ]  # fmt: skip
    assert [one.weight for one in found.values()] == sorted((one.weight for one in found.values()), reverse=True)


def test_what_says_nothing_of_liking_is_no_interest() -> None:
    history = [entry("pan", "dislike"), entry("pan", "cart_remove"), entry("nobody-described-it", "click")]
    assert interests(history, ITEMS, EVENT_WEIGHTS, NOW) == []
    (only, *_) = interests([*history, entry("rod", "view"), entry("bare", "view")], ITEMS, EVENT_WEIGHTS, NOW)
    assert only.weight == 0.5, "an item without category, brand or tags is something done all the same"


def test_evidence_is_bounded_and_a_type_of_the_settings_counts() -> None:
    history = [HistoryEntry("rod", "bookmark", NOW - n, f"e{n}") for n in range(30)]
    (brand, _) = interests(history, ITEMS, {"bookmark": 4.0}, NOW)
    assert (brand.num_events, len(brand.events)) == (30, MAX_EVIDENCE)
    assert [one.event.event_id for one in brand.events] == [f"e{n}" for n in range(MAX_EVIDENCE)]
