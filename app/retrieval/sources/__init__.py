"""Candidate sources: each proposes rows of the item space for a batch of users, best first.

What a source needs beyond the users' past (what sells now, pins, a query) rides in their `moment_B`. A source that learns something has a twin in `learning.sources` that fits what stands in its `Fitted`; adding one means one
file here, one there, and a line in FITTED and in `learning.sources.FITTERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from app.retrieval.sources.complements import ComplementsSource
from app.retrieval.sources.content import ContentSource
from app.retrieval.sources.item_cf import ItemCfSource
from app.retrieval.sources.knowledge_graph import KnowledgeGraphSource
from app.retrieval.sources.matrix_factorisation import MatrixFactorisationSource
from app.retrieval.sources.moment import EDITORIAL, QUERY, TRENDING, EditorialSource, QuerySource, TrendingSource
from app.retrieval.sources.new import NewSource
from app.retrieval.sources.popular import PopularSource
from app.retrieval.sources.repeat import RepeatSource
from app.retrieval.sources.source import CandidateSource, Fitted, ReadsDelta
from app.retrieval.sources.two_tower import TwoTowerSource
from app.retrieval.sources.user_cf import UserCfSource

FITTED: Mapping[str, Callable[[Fitted], CandidateSource]] = {
    source.name: source
    for source in (
        ItemCfSource,
        UserCfSource,
        MatrixFactorisationSource,
        ContentSource,
        KnowledgeGraphSource,
        ComplementsSource,
        PopularSource,
        RepeatSource,
    )
}
# Their weights are learned from the log. What editors pin and what is asked for in words stands in no log of events.
LEARNABLE = ("two_tower", *FITTED, TRENDING, "new")
SOURCE_NAMES = (*LEARNABLE, EDITORIAL, QUERY)

__all__ = [
    "EDITORIAL", "FITTED", "LEARNABLE", "QUERY", "SOURCE_NAMES", "TRENDING", "CandidateSource", "ContentSource", "EditorialSource",
    "Fitted", "NewSource", "QuerySource", "ReadsDelta", "TrendingSource", "TwoTowerSource",
]  # fmt: skip
