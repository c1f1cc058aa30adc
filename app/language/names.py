"""Brands and categories of the catalogue that a text names exactly, but for case. A Chinese name may stand inside a run of characters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

MAX_WORDS = 6  # of a name
MAX_SIGNS = 12  # of a Chinese name
MAX_NAMES = 20  # of each kind that a text is read for
_WORD = re.compile(r"[^\W_]+(?:[&'’.+/-][^\W_]+)*", re.UNICODE)
_CHINESE = re.compile(r"[\u4e00-\u9fff]+")
_SOFT = re.compile(r"(?:\blike|\bsimilar\s+to|\bsuch\s+as|类似|比如|像)\s*$", re.IGNORECASE)  # a comparison, no demand
# Words too common to be meant as a name, whatever the shop calls a shelf.
_COMMON = frozenset(
    [
        "a",
        "an",
        "all",
        "and",
        "any",
        "best",
        "for",
        "from",
        "gift",
        "gifts",
        "good",
        "home",
        "in",
        "me",
        "new",
        "no",
        "not",
        "of",
        "on",
        "or",
        "other",
        "others",
        "sale",
        "set",
        "the",
        "to",
        "top",
        "with",
    ]
)


@dataclass(frozen=True, slots=True)
class Names:
    """Folded name -> as the catalogue writes it."""

    brands: Mapping[str, str] = field(default_factory=dict)
    categories: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, brands: Iterable[str], categories: Iterable[str]) -> Names:
        return cls(_folded(brands), _folded(categories))

    def joined(self, other: Names) -> Names:
        return Names({**self.brands, **other.brands}, {**self.categories, **other.categories})


@dataclass(frozen=True, slots=True)
class Named:
    brands: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()


def find_names(text: str, names: Names) -> Named:
    """The longest name wins where two overlap; a name that is both is taken as a category."""
    brands, categories, taken = [], [], [False] * len(text)
    for start, end in sorted(_windows(text), key=lambda span: span[0] - span[1]):
        key = fold(text[start:end])
        if key not in names.categories and key not in names.brands:
            continue
        if key in _COMMON or any(taken[start:end]) or _SOFT.search(text[:start]):
            continue
        if key in names.categories:
            categories.append((start, names.categories[key]))
        else:
            brands.append((start, names.brands[key]))
        taken[start:end] = [True] * (end - start)
    return Named(_in_order(brands), _in_order(categories))


def fold(name: str) -> str:
    return " ".join(name.casefold().split())


def _folded(names: Iterable[str]) -> dict[str, str]:
    return {key: name for name in names if len(key := fold(name)) > 1}


def _in_order(found: list[tuple[int, str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for _, name in sorted(found)))[:MAX_NAMES]


def _windows(text: str) -> Iterator[tuple[int, int]]:
    """Every run of up to MAX_WORDS words, and inside Chinese every run of up to MAX_SIGNS characters."""
    words = [match.span() for match in _WORD.finditer(text)]
    for first, (start, _) in enumerate(words):
        yield from ((start, end) for _, end in words[first : first + MAX_WORDS])
    for run in _CHINESE.finditer(text):
        for start in range(run.start(), run.end()):
            yield from ((start, end) for end in range(start + 2, min(start + MAX_SIGNS, run.end()) + 1))
