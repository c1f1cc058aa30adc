"""What an item has in common with the history, where the walk over the knowledge graph truly carried it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.catalogue.item import Item
from app.features.entities import entities_by_key
from app.retrieval.candidates import Candidates
from app.retrieval.sources.knowledge_graph import KnowledgeGraphSource, Link
from app.serving.live import LiveSnapshot
from app.serving.reasons.reason import Evidence
from app.serving.retrieve import fold
from app.serving.rules import Asked

PATH_SIGN = " › "  # between the levels of a category


def common_attributes(
    asked: Asked, live: LiveSnapshot, found: Candidates, share_of: Mapping[int, float]
) -> dict[int, Evidence]:
    """Row -> the attribute that brought most of what the graph gave it. share_of: row -> share of the knowledge graph in its score;
    the attribute has of it what one step over it brought of the item's score in the graph's own list."""
    model = live.model
    source = model.snapshot.source(KnowledgeGraphSource.name) if model else None
    if model is None or not isinstance(source, KnowledgeGraphSource) or not share_of:
        return {}
    scores = dict(zip(found.rows_C.tolist(), found.scores[source.name].tolist(), strict=True))
    links = source.links_between(fold([asked], live, model, [asked.scenario]), model.space, list(share_of))
    items = {item.item_id: item for item in live.catalogue.items([live.catalogue.id_at(row) for row in share_of])}
    told: dict[int, Evidence] = {}
    for (row, share), of_row in zip(share_of.items(), links, strict=True):
        item = items.get(live.catalogue.id_at(row))
        evidence = _evidence(live, item, of_row, share / scores[row]) if item and scores[row] > 0 else None
        if evidence is not None:
            told[row] = evidence
    return told


def _evidence(live: LiveSnapshot, item: Item, links: Sequence[Link], share_per_score: float) -> Evidence | None:
    if not links:
        return None
    by_key: dict[int, float] = {}
    for link in links:
        by_key[link.key] = by_key.get(link.key, 0.0) + link.score
    key = max(by_key, key=by_key.__getitem__)
    origin = next(link.row for link in links if link.key == key)
    named = _named(item, key)
    if named is None:  # described otherwise since training
        return None
    share = round(min(by_key[key] * share_per_score, 1.0), 4)
    return Evidence("attribute", share, item_id=live.catalogue.id_at(origin), attribute=named[0], value=named[1])


def _named(item: Item, key: int) -> tuple[str, str] | None:
    """(attribute, value) as filters and shoppers know them."""
    entity = entities_by_key(item).get(key)
    if entity is None:
        return None
    relation, value = entity
    if relation == "price":
        return relation, f"{item.price:g}"
    if relation == "category":
        return relation, value.replace("\x1f", PATH_SIGN)
    return relation.replace("attribute ", "attributes.", 1), value
