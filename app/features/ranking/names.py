"""The features in the order of their rows. A model remembers the names it was trained with and serves with no others."""

from __future__ import annotations

from collections.abc import Mapping

# Candidate sources in the order of their rows; a test holds them to what retrieval has.
SOURCES = (
    "two_tower", "item_cf", "user_cf", "matrix_factorisation", "content", "knowledge_graph", "complements", "popular",
    "repeat", "trending", "new", "query",
)  # fmt: skip
FEATURES = (
    *(f"{source} rank" for source in SOURCES),
    *(f"{source} score" for source in SOURCES),
    "fused", "log fused", "sources",
    "tower", "pooled tower", "tower of last", "tower of recent",
    "text of last", "text of recent", "text of history", "text of query",
    "price", "above habit", "from habit",
    "category share", "department share", "brand share", "category of last", "brand of last",
    "fresh", "age",
    "popular here", "popular in shop", "known",
    "times had", "since had", "due",
    "shown",
    "history", "idle", "hour sine", "hour cosine", "mobile", "desktop", "home country", "other country", "words",
)  # fmt: skip
ROW: Mapping[str, int] = {name: row for row, name in enumerate(FEATURES)}
# What an item without any event cannot have: taken for the average one's, so that nobody holds its newness against it.
OF_EVENTS = tuple(ROW[name] for name in ("popular here", "popular in shop", "known"))
