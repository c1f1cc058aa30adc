"""The word material of the sample shop: products, brands, styles and kinds of shoppers, from the TOML files here."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class Kind:
    """One kind of product. Fields as explained on top of products.toml."""

    key: str
    path: tuple[str, str, str]
    nouns: tuple[str, ...]
    price: tuple[float, float]
    materials: tuple[str, ...]
    sizes: tuple[str, ...]
    features: tuple[str, ...]
    uses: tuple[str, ...]
    styles: tuple[str, ...]
    tags: tuple[str, ...]
    goes_with: tuple[str, ...]
    coloured: bool = False


@dataclass(frozen=True)
class Style:
    name: str
    adjectives: tuple[str, ...]
    sentences: tuple[str, ...]
    tags: tuple[str, ...]
    wish: tuple[str, ...]


@dataclass(frozen=True)
class Brand:
    name: str
    level: float
    styles: tuple[str, ...]
    departments: tuple[str, ...]


@dataclass(frozen=True)
class Persona:
    key: str
    kinds: Mapping[str, int]
    styles: tuple[str, ...]
    age: tuple[int, int]
    female: float
    level: float
    occupations: tuple[str, ...]
    says: tuple[str, ...]


@dataclass(frozen=True)
class Words:
    kinds: tuple[Kind, ...]
    styles: tuple[Style, ...]
    brands: tuple[Brand, ...]
    lines: tuple[str, ...]
    colours: Mapping[str, tuple[str, ...]]  # family -> shades
    personas: tuple[Persona, ...]

    @cached_property
    def kind_row(self) -> dict[str, int]:
        return {kind.key: row for row, kind in enumerate(self.kinds)}

    @cached_property
    def style_row(self) -> dict[str, int]:
        return {style.name: row for row, style in enumerate(self.styles)}

    @cached_property
    def departments(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(kind.path[0] for kind in self.kinds))


def load_words() -> Words:
    brands = _read("brands.toml")
    return Words(
        kinds=tuple(Kind(**_frozen(entry)) for entry in _read("products.toml")["kind"]),
        styles=tuple(Style(name, **_frozen(entry)) for name, entry in _read("styles.toml").items()),
        brands=tuple(Brand(**_frozen(entry)) for entry in brands["brand"]),
        lines=tuple(brands["lines"]),
        colours=_frozen(brands["colours"]),
        personas=tuple(Persona(**_frozen(entry)) for entry in _read("personas.toml")["persona"]),
    )


def fitting(choices: tuple[str, ...], noun: str) -> list[str]:
    """Those said of this noun: "Jar|Tin: stacks neatly" is only for nouns that have one of these words."""
    split = [choice.rpartition(": ") for choice in choices]
    return [text for words, _, text in split if not words or any(word in noun for word in words.split("|"))]


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath(name).read_text(encoding="utf-8"))


def _frozen(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}
