"""A query in natural language at request time: interpreted against the names of the catalogue, its words encoded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from app.language.interpret import Interpretation, interpret
from app.language.names import Names
from app.retrieval.columns import Columns
from app.retrieval.filters import Filter, parse_filter
from app.serving.catalogue_view import CatalogueView
from app.serving.live import LiveSnapshot
from app.serving.profiles import ProfileTexts
from app.types import Float32Array


@dataclass(frozen=True, slots=True, eq=False)
class AskedWords:
    """filter: what the words demand, as hard as a given one. vector_T: of the text that is left to search by; None where there is
    none, or no model. not_like_XT: of each phrase that is not wanted."""

    interpretation: Interpretation
    filter: Filter | None = None
    vector_T: Float32Array | None = None
    not_like_XT: Float32Array | None = None


@dataclass(slots=True)
class Queries:
    """texts: remembers vectors by text. _names: of the parts of the newest catalogue, each read once."""

    texts: ProfileTexts
    _names: dict[int, tuple[Columns, Names]] = field(default_factory=dict)

    async def read(self, query: str | None, live: LiveSnapshot) -> AskedWords | None:
        """None where nothing was asked for."""
        if query is None or not query.strip():
            return None
        found = await asyncio.to_thread(self._interpreted, query, live.catalogue)
        wanted = None if found.filter is None else parse_filter(found.filter, ("query",))
        if live.model is None:
            return AskedWords(found, wanted)
        vector_T, *not_like = await asyncio.gather(*map(self._vector, (found.text, *found.not_like)))
        phrases = [phrase_T for phrase_T in not_like if phrase_T is not None]
        return AskedWords(found, wanted, vector_T, np.stack(phrases) if phrases else None)

    async def _vector(self, text: str) -> Float32Array | None:
        return await self.texts.vector(text) if text else None

    def _interpreted(self, query: str, view: CatalogueView) -> Interpretation:
        return interpret(query, self._names_of([view.trained, *(block.columns for block in view.blocks)]))

    def _names_of(self, parts: Sequence[Columns]) -> Names:
        known = {key: held for key, held in self._names.items() if any(held[0] is part for part in parts)}
        for part in parts:
            if id(part) not in known:
                known[id(part)] = (part, names_in(part))
        self._names = known
        first, *others = (known[id(part)][1] for part in parts)
        for other in others:
            first = first.joined(other)
        return first


def names_in(columns: Columns) -> Names:
    """Of all items, hidden ones too: a name means the same while its items are sold out."""
    brands = columns.plain["brand"].drop_nulls().unique().to_list()
    categories = columns.plain["category"].drop_nulls().explode().drop_nulls().unique().to_list()
    return Names.of(brands, categories)
