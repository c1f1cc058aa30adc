"""Candidate sources: each proposes rows of the item space for a batch of users, best first.

A source that learns something has a twin in `learning.sources` that fits what stands in its `Fitted`; adding one means one
file here, one there, and a line in FITTED and in `learning.sources.FITTERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from app.retrieval.sources.content import ContentSource
from app.retrieval.sources.item_cf import ItemCfSource
from app.retrieval.sources.knowledge_graph import KnowledgeGraphSource
from app.retrieval.sources.matrix_factorisation import MatrixFactorisationSource
from app.retrieval.sources.new import NewSource
from app.retrieval.sources.popular import PopularSource
from app.retrieval.sources.repeat import RepeatSource
from app.retrieval.sources.source import CandidateSource, Fitted, ReadsDelta
from app.retrieval.sources.two_tower import TwoTowerSource

FITTED: Mapping[str, Callable[[Fitted], CandidateSource]] = {
    source.name: source
    for source in (
        ItemCfSource,
        MatrixFactorisationSource,
        ContentSource,
        KnowledgeGraphSource,
        PopularSource,
        RepeatSource,
    )
}
SOURCE_NAMES = ("two_tower", *FITTED, "new")

__all__ = ["FITTED", "SOURCE_NAMES", "CandidateSource", "Fitted", "NewSource", "ReadsDelta", "TwoTowerSource"]
