"""Shoppers of the sample shop: who they are, what they say of themselves, and their true tastes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from app.catalogue.sample_shop.words import Persona, Words
from app.catalogue.shop_data import USER_SCHEMA
from app.types import BoolArray, Float32Array

_TEXT_RATIO = 0.6
_COUNTRIES = (
    "Germany",
    "France",
    "United Kingdom",
    "Netherlands",
    "Spain",
    "Austria",
    "Italy",
    "Sweden",
    "Ireland",
    "Poland",
)
_COUNTRY_RATIOS = (0.25, 0.15, 0.15, 0.1, 0.08, 0.07, 0.06, 0.05, 0.05, 0.04)
_MIXES = np.asarray([[1.0, 0.0, 0.0], [0.8, 0.2, 0.0], [0.7, 0.2, 0.1]])
_FRUGAL = ("I look for a bargain first.", "My budget is small, so price matters.", "I rarely pay full price.")
_LAVISH = (
    "I would rather pay more for something that lasts.",
    "Only the best will do.",
    "Quality matters more than price.",
)
_COLOUR_WORDS = {
    "neutral": "black, white and grey",
    "earth": "earthy colours like olive and rust",
    "bright": "bright colours",
    "pastel": "soft pastels",
}


@dataclass(frozen=True)
class Shoppers:
    """frame: rows of USER_SCHEMA. Arrays [U, …] in the same order: true tastes, 0 for indifferent, about 1 for loved.

    level [U]: price level they shop at, 0-1. thrift [U]: how much a discount moves them, 0-1.
    """

    frame: pl.DataFrame
    kinds: Float32Array
    styles: Float32Array
    brands: Float32Array
    colours: Float32Array
    level: Float32Array
    thrift: Float32Array
    gets_email: BoolArray
    joined_day: Float32Array  # days from the start of the 90; negative for those who were here before


def make_shoppers(words: Words, num_users: int, start: datetime, num_days: int, rng: np.random.Generator) -> Shoppers:
    interest_PK = _persona_interests(words)
    share_P = rng.dirichlet(np.full(len(words.personas), 8.0))
    shape = (num_users, len(words.kinds))
    kinds = np.zeros(shape, np.float32)
    styles = np.zeros((num_users, len(words.styles)), np.float32)
    brands = np.zeros((num_users, len(words.brands)), np.float32)
    colours = np.zeros((num_users, len(words.colours)), np.float32)
    level = np.zeros(num_users, np.float32)
    gets_email = rng.random(num_users) < 0.7
    joined_day = np.where(
        rng.random(num_users) < 0.85, -rng.uniform(1, 600, num_users), rng.uniform(0, num_days, num_users)
    )
    rows = []
    for number in range(num_users):
        personas, mix = _choose_personas(words, share_P, rng)
        main = words.personas[personas[0]]
        strength = mix @ interest_PK[personas]
        kinds[number] = np.log1p(strength) / np.log1p(3.0)
        level[number] = np.clip(main.level + rng.normal(0, 0.12), 0, 1)
        loved_style, liked_style = _choose_styles(words, main, rng)
        styles[number, loved_style], styles[number, liked_style] = 1.0, 0.3
        loved_brands = _choose_brands(words, strength, loved_style, float(level[number]), rng)
        brands[number, loved_brands] = (1.0, 0.7, 0.5)
        favourite = int(rng.integers(len(words.colours)))
        colours[number, favourite] = 1.0
        text = None
        if rng.random() < _TEXT_RATIO:
            family = list(words.colours)[favourite]
            text = _introduce(
                words, personas, loved_style, words.brands[loved_brands[0]].name, family, float(level[number]), rng
            )
        rows.append(
            _person(number, main, text, bool(gets_email[number]), rng)
            | {"created_at": (start + timedelta(days=float(joined_day[number]))).replace(microsecond=0)}
        )
    thrift = np.clip(1.0 - level + rng.normal(0, 0.15, num_users), 0, 1).astype(np.float32)
    frame = pl.DataFrame(rows, schema=USER_SCHEMA)
    return Shoppers(frame, kinds, styles, brands, colours, level, thrift, gets_email, joined_day.astype(np.float32))


def _persona_interests(words: Words) -> Float32Array:
    interest = np.zeros((len(words.personas), len(words.kinds)), np.float32)
    for row, persona in enumerate(words.personas):
        for key, strength in persona.kinds.items():
            interest[row, words.kind_row[key]] = strength
    return interest


def _choose_personas(words: Words, share_P: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    mix = _MIXES[rng.choice(3, p=(0.35, 0.45, 0.2))]
    return rng.choice(len(words.personas), 3, replace=False, p=share_P), mix


def _choose_styles(words: Words, main: Persona, rng: np.random.Generator) -> tuple[int, int]:
    """A loved one, mostly the first of the persona's, and a liked one."""
    names = list(main.styles) if rng.random() < 0.92 else [style.name for style in words.styles]
    loved = words.style_row[names[0] if rng.random() < 0.5 else str(rng.choice(names))]
    others = [row for row in range(len(words.styles)) if row != loved]
    return loved, int(rng.choice(others))


def _choose_brands(
    words: Words, strength_K: np.ndarray, style: int, level: float, rng: np.random.Generator
) -> list[int]:
    """Three brands, likelier those that sell what the shopper wants, in the shopper's style, at the shopper's price."""
    wanted: dict[str, float] = {}
    for kind, weight in zip(words.kinds, strength_K, strict=True):
        wanted[kind.path[0]] = wanted.get(kind.path[0], 0.0) + float(weight)
    weight_B = np.asarray([
        (0.01 + sum(wanted.get(department, 0.0) for department in brand.departments))
        * (3.0 if words.styles[style].name in brand.styles else 1.0)
        * np.exp(-6.0 * (brand.level - level) ** 2)
        for brand in words.brands
    ])  # fmt: skip
    return [int(row) for row in rng.choice(len(words.brands), 3, replace=False, p=weight_B / weight_B.sum())]


def _introduce(
    words: Words, personas: np.ndarray, style: int, brand: str, family: str, level: float, rng: np.random.Generator
) -> str:
    """Two to five sentences; what they say is true, what they leave out is still there."""
    parts = [str(rng.choice(words.personas[personas[0]].says)), f"I {rng.choice(words.styles[style].wish)}."]
    if rng.random() < 0.5:
        parts.insert(1, str(rng.choice(words.personas[personas[1]].says)))
    if level < 0.3 or level > 0.7:
        parts.append(str(rng.choice(_FRUGAL if level < 0.3 else _LAVISH)))
    if rng.random() < 0.3:
        parts.append(f"{brand} rarely disappoints me.")
    if rng.random() < 0.3:
        parts.append(f"I wear and buy mostly {_COLOUR_WORDS[family]}.")
    return " ".join(parts)


def _person(
    number: int, main: Persona, text: str | None, newsletter: bool, rng: np.random.Generator
) -> dict[str, object]:
    gender = "female" if rng.random() < main.female else "male"
    if rng.random() < 0.02:
        gender = "other"
    known = rng.random(3) < (0.85, 0.9, 0.7)
    age = int(np.clip(rng.normal(sum(main.age) / 2, (main.age[1] - main.age[0]) / 5), *main.age))
    return {
        "user_id": f"u{10_001 + number}",
        "text": text,
        "age": age if known[0] else None,
        "gender": gender if known[1] else None,
        "occupation": str(rng.choice(main.occupations)) if known[2] else None,
        "country": str(rng.choice(_COUNTRIES, p=_COUNTRY_RATIOS)),
        "locale": "en",
        "tags": [],
        "attributes": '{"newsletter": true}' if newsletter else '{"newsletter": false}',
        "personalize": True,
        "train": True,
    }
