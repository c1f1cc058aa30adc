"""From evidence to the one sentence a shopper reads: the strongest cause leads, and nothing is said that is not among the evidence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from app.language.reason_texts import ReasonTexts, readable, texts_for
from app.serving.live import LiveSnapshot
from app.serving.reasons.reason import Evidence, Reason
from app.serving.rules import Asked

CLEAR_SHARE = (
    0.1  # from which on one cause stands for itself; below, the taste does that it is part of or faint beside …
)
CLEAR_LEAD, LEAST_LEADING = 1.5, 0.04  # … unless it has so many times the share of the next, and not too little
LEAST_SHARE = 0.1  # of what leads, or of the taste it is part of: less brought the item no further
CROWD = ("popular", "trending", "new", "editorial")  # sources that are a cause by themselves; the others only carry one
TOGETHER = ("item_cf", "user_cf", "matrix_factorisation", "complements")  # what the same shoppers chose
ALIKE = ("content", "knowledge_graph")  # what reads alike or has something in common
CART = "cart"


class Sentences:
    """For one request: in its locale. item_ids: all that its evidence names; their titles are read at once."""

    def __init__(self, asked: Asked, live: LiveSnapshot, item_ids: Iterable[str]) -> None:
        profile = asked.state.profile
        self._texts: ReasonTexts = texts_for(asked.request.context.get("locale"), profile.locale if profile else None)
        self._asked = asked
        self._titles = {item.item_id: item.title for item in live.catalogue.items(list(dict.fromkeys(item_ids)))}

    def reason(self, item_id: str, evidence: Sequence[Evidence]) -> Reason:
        lead = leading(evidence, item_id)
        if lead is None:
            return Reason(self._texts.say("source", "other"), tuple(evidence))
        text = self._text(item_id, lead, evidence)
        common = next((e for e in evidence if e.kind == "attribute" and e.item_id == lead.item_id), None)
        if common is not None and common.attribute and common.value and lead.kind in ("history", "context"):
            text = self._texts.add_common(text, common.attribute, common.value)
        rest = sorted((e for e in evidence if e is not lead), key=lambda e: -e.share)
        return Reason(text, (lead, *rest))

    def _text(self, item_id: str, lead: Evidence, evidence: Sequence[Evidence]) -> str:
        if lead.kind in ("history", "context"):
            return self._of_item(item_id, lead, evidence)
        if lead.kind == "taste":
            if _mostly_by(evidence, TOGETHER):
                return self._texts.say("taste", "together")
            example = _strongest([e for e in evidence if e.item_id != item_id], "history")
            return self._titled("taste", "example", example.item_id if example else None)
        key = lead.source or lead.rule or ("words" if lead.words else "untitled")
        return self._texts.say(lead.kind, key, words=lead.words or "")

    def _of_item(self, item_id: str, lead: Evidence, evidence: Sequence[Evidence]) -> str:
        if lead.item_id == item_id:
            return self._texts.say("again", lead.event or "other")
        if lead.kind == "history":
            return self._titled("history", lead.event or "other", lead.item_id)
        return self._titled("context", self._way(evidence), lead.item_id)

    def _way(self, evidence: Sequence[Evidence]) -> str:
        """How a viewed item led here: by the sources that carried most."""
        if self._asked.scenario.name == CART or len({*self._asked.request.context_items}) > 1:
            return CART
        return "together" if _mostly_by(evidence, TOGETHER) else "similar" if _mostly_by(evidence, ALIKE) else "viewed"

    def _titled(self, group: str, key: str, item_id: str | None) -> str:
        title = readable(self._titles.get(item_id or "") or "")
        return self._texts.say(group, key, title=title) if title else self._texts.say(group, "untitled")


def leading(evidence: Sequence[Evidence], item_id: str = "") -> Evidence | None:
    """The rule that put it there, else the strongest cause. None: nothing that may be told as one. item_id: the item shown."""
    rule = next((e for e in evidence if e.kind == "rule" and e.share == 1.0), None)
    if rule is not None:
        return rule
    one = _strongest(evidence, "history", "context", "profile", "query")
    taste = _strongest(evidence, "taste")
    crowd = max((e for e in evidence if e.source in CROWD), key=lambda e: e.share, default=None)
    if taste is not None and (one is None or not (one.item_id == item_id or _stands_out(one, evidence))):
        one = taste
    cart = None if one is not None and _is_clear_context(one) else _strongest(evidence, "cart")
    told = {
        e: max(e.share, taste.share if taste and e.kind == "history" else 0.0)
        for e in (one, cart, crowd)
        if e is not None
    }
    lead = max(told, key=told.__getitem__, default=None)
    return lead if lead is not None and told[lead] >= LEAST_SHARE else None


def _stands_out(one: Evidence, evidence: Sequence[Evidence]) -> bool:
    """From the taste of which it is a part, or beside which it is faint."""
    if one.share >= CLEAR_SHARE:
        return True
    if one.kind != "history":
        return False
    next_share = max((e.share for e in evidence if e.kind == one.kind and e is not one), default=0.0)
    return one.share >= max(LEAST_LEADING, CLEAR_LEAD * next_share)


def _is_clear_context(one: Evidence) -> bool:
    return one.kind == "context" and one.share >= CLEAR_SHARE


def _mostly_by(evidence: Sequence[Evidence], sources: Sequence[str]) -> bool:
    """Whether more than half of what the sources brought came from these."""
    total = sum(e.share for e in evidence if e.source)
    return 2 * sum(e.share for e in evidence if e.source in sources) > total > 0


def _strongest(evidence: Sequence[Evidence], *kinds: str) -> Evidence | None:
    able = (e for e in evidence if e.kind in kinds and e.event != "dislike")
    return max(able, key=lambda e: e.share, default=None)
