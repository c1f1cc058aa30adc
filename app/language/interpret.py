"""What a query in natural language asks for: words to search by, a hard filter, and what is not wanted. Pure functions, no model.

"gift for dad who fishes, under 50, not electronics"
-> text "gift for dad who fishes", price < 50, not like "electronics"
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from app.language.names import Named, Names, find_names
from app.language.negations import find_negations
from app.language.prices import find_prices, price_clauses
from app.types import Json

MAX_NOT_LIKE = 10
_CONNECTORS = (
    r"(?:and|but|or|with|for|at|a\s+price|priced|price|costs?|costing|that\s+costs?|的|价格|价位|,|，|、|;|；|:|：|-)"
)
_LOOSE_END = re.compile(rf"(?:\s|{_CONNECTORS}(?=\s|$|[,，、;；]))+$", re.IGNORECASE)
_LOOSE_START = re.compile(r"^(?:\s|[,，、;；:：.。\-的]|(?:and|but|or)\s)+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Interpretation:
    """text: what is left to search by, may be empty. filter: in the filter language, None where nothing was demanded."""

    text: str
    filter: dict[str, Json] | None = None
    not_like: tuple[str, ...] = ()


def interpret(query: str, names: Names) -> Interpretation:
    """Names that are wanted stay in the text, because an item's text says them too; prices and what is not wanted go."""
    query = " ".join(query.split())
    bounds, price_spans = find_prices(query)
    left = _blank(query, price_spans)
    phrases, negation_spans = find_negations(left)
    left = _blank(left, negation_spans)
    phrases = phrases[:MAX_NOT_LIKE]
    unwanted = [find_names(phrase, names) for phrase in phrases]
    clauses = [*price_clauses(bounds), *_wanted(find_names(left, names)), *_unwanted(phrases, unwanted)]
    return Interpretation(_tidy(left), {"and": clauses} if clauses else None, tuple(phrases))


def _wanted(named: Named) -> Iterable[Json]:
    if named.brands:
        one = len(named.brands) == 1
        yield {"field": "brand", "eq": named.brands[0]} if one else {"field": "brand", "in": list(named.brands)}
    shelves: list[Json] = [{"field": "category", "contains": name} for name in named.categories]
    if shelves:
        yield shelves[0] if len(shelves) == 1 else {"or": shelves}


def _unwanted(phrases: list[str], named: list[Named]) -> Iterable[Json]:
    """A phrase that is nothing but a name keeps that name out."""
    for phrase, found in zip(phrases, named, strict=True):
        for name in found.brands:
            if name.casefold() == phrase.casefold():
                yield {"field": "brand", "ne": name}
        for name in found.categories:
            if name.casefold() == phrase.casefold():
                yield {"not": {"field": "category", "contains": name}}


def _blank(text: str, spans: list[tuple[int, int]]) -> str:
    """A cut leaves a comma, so that what stood on its two sides does not grow together."""
    for start, end in reversed(spans):
        text = f"{text[:start]} , {text[end:]}"
    return text


def _tidy(text: str) -> str:
    pieces = [_LOOSE_START.sub("", _LOOSE_END.sub("", piece)).strip() for piece in re.split(r"\s,(?=\s|$)", text)]
    joined = " ".join(piece for piece in pieces if piece)
    joined = re.sub(r"\s*([,，、;；])(?:\s*[,，、;；])+", r"\1", joined)
    return _LOOSE_START.sub("", _LOOSE_END.sub("", joined)).strip()
