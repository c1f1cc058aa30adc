"""Why an item stands in a slate, as the slate hands it on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing that carried an item. share: the part of the item's score that is gone without it, 0-1.

    kind says which of the other fields are set: "history" (item_id, event), "context" (item_id), "taste" (the whole history
    together), "cart" (all context items together), "profile", "query" (words), "source" (source), "attribute" (attribute, value, item_id), "rule" (rule).
    """

    kind: str
    share: float
    item_id: str | None = None
    event: str | None = None  # strongest event of the user on item_id
    source: str | None = None
    attribute: str | None = None
    value: str | None = None
    words: str | None = None
    rule: str | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """evidence: the one that the text tells of first, then by share."""

    text: str
    evidence: tuple[Evidence, ...]
