"""Products of the sample shop: their words, and beside them the properties that shoppers care for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from app.catalogue.sample_shop.words import Brand, Kind, Style, Words, fitting
from app.catalogue.shop_data import ITEM_SCHEMA
from app.types import BoolArray, Float32Array, Int32Array

CURRENCY = "EUR"
_NO_COLOUR = -1
_NEW_RATIO, _SALE_RATIO = 0.08, 0.15
_KEPT_CASE = {"USB-C", "C", "Bluetooth", "3D", "French", "Bundt", "Parfum"}
_SINGULAR_IN_S = ("Press", "Dress", "Harness", "Atlas")
_PAIRS = ("Clothing", "Outdoor", "Sport", "Electronics", "Garden")


@dataclass(frozen=True)
class Products:
    """frame: rows of ITEM_SCHEMA. Arrays [N] in the same order: rows into the words, and numbers.

    level: price within its kind, 0-1. discount: 0-0.4. quality: standard normal; no text shows it.
    published_day: days from the start of the 90; negative for what was there before. used_up: bought again and again.
    """

    frame: pl.DataFrame
    kind: Int32Array
    style: Int32Array
    brand: Int32Array
    colour: Int32Array  # -1: comes in no colour
    level: Float32Array
    discount: Float32Array
    quality: Float32Array
    published_day: Float32Array
    price: Float32Array
    used_up: BoolArray


def make_products(words: Words, num_items: int, start: datetime, num_days: int, rng: np.random.Generator) -> Products:
    kind_rows = np.sort(np.arange(num_items) % len(words.kinds)).astype(np.int32)
    published_day = -rng.uniform(1, 700, num_items)
    is_new = rng.random(num_items) < _NEW_RATIO
    published_day[is_new] = rng.uniform(0, num_days, int(is_new.sum()))
    on_sale = (rng.random(num_items) < _SALE_RATIO) & ~is_new
    discount = np.where(on_sale, rng.choice([0.1, 0.15, 0.2, 0.25, 0.3, 0.4], num_items), 0.0)
    taken: set[str] = set()
    rows, columns = [], []
    for number in range(num_items):
        kind = words.kinds[kind_rows[number]]
        brand_row, style_row = _brand_and_style(words, kind, rng)
        brand, style = words.brands[brand_row], words.styles[style_row]
        level = float(np.clip(brand.level + rng.normal(0, 0.12), 0, 1))
        families = list(words.colours)
        colour_row = int(rng.integers(len(families))) if kind.coloured else _NO_COLOUR
        shade = str(rng.choice(words.colours[families[colour_row]])) if kind.coloured else None
        published_at = start + timedelta(days=float(published_day[number]))
        row = _describe(words, kind, brand, style, shade, level, float(discount[number]), taken, rng)
        row["item_id"] = f"{''.join(w[0] for w in kind.path[0].split() if w != '&').upper()}-{10_001 + number}"
        row["published_at"] = row["created_at"] = published_at.replace(microsecond=0)
        rows.append(row)
        columns.append((style_row, brand_row, colour_row, level, row["price"]))
    style_rows, brand_rows, colour_rows, levels, prices = map(np.asarray, zip(*columns, strict=True))
    return Products(
        frame=pl.DataFrame(rows, schema=ITEM_SCHEMA),
        kind=kind_rows,
        style=style_rows.astype(np.int32),
        brand=brand_rows.astype(np.int32),
        colour=colour_rows.astype(np.int32),
        level=levels.astype(np.float32),
        discount=discount.astype(np.float32),
        quality=rng.standard_normal(num_items).astype(np.float32),
        published_day=published_day.astype(np.float32),
        price=prices.astype(np.float32),
        used_up=np.isin(kind_rows, [row for row, kind in enumerate(words.kinds) if _is_used_up(kind)]),
    )


def _is_used_up(kind: Kind) -> bool:
    return kind.path[0] == "Food & Drink" or kind.key in (
        "dog_treats",
        "face_cream",
        "shampoo_bar",
        "bath_salts",
        "candle",
    )


def _brand_and_style(words: Words, kind: Kind, rng: np.random.Generator) -> tuple[int, int]:
    """A brand that sells in the department, then a style that both kind and brand have, if there is one."""
    selling = [row for row, brand in enumerate(words.brands) if kind.path[0] in brand.departments]
    fitting: NDArray[np.float64] = np.asarray(
        [3.0 if set(words.brands[row].styles) & set(kind.styles) else 0.4 for row in selling]
    )
    brand_row = int(rng.choice(selling, p=fitting / fitting.sum()))
    liked = [style for style in words.brands[brand_row].styles if style in kind.styles]
    names = liked if liked and rng.random() < 0.75 else list(kind.styles)
    return brand_row, words.style_row[str(rng.choice(names))]


def _describe(
    words: Words, kind: Kind, brand: Brand, style: Style, shade: str | None, level: float, discount: float,
    taken: set[str], rng: np.random.Generator,
) -> dict[str, object]:  # fmt: skip
    noun, name = _name(words, kind, brand, taken, rng)
    material, size = (str(rng.choice(fitting(choices, noun))) for choices in (kind.materials, kind.sizes))
    adjective = str(rng.choice(style.adjectives))
    low, high = kind.price
    list_price = _shop_price(low * (high / low) ** level)
    price = round(list_price * (1 - discount), 2)
    attributes: dict[str, object] = {"material": material, "size": size, "style": style.name}
    tags = [*kind.tags, *style.tags]
    if shade:
        attributes["colour"] = shade
    if level > 0.75 or level < 0.2:
        tags.append("premium" if level > 0.75 else "good value")
    if discount:
        attributes |= {"discount_percent": round(discount * 100), "list_price": list_price}
        tags.append("sale")
    extras = [shade] if shade and rng.random() < 0.7 else []
    extras += [size] if rng.random() < 0.5 else []
    stem = f"{name} {adjective} {noun}" if rng.random() < 0.35 else f"{name} {noun}"
    return {
        "title": ", ".join([stem, *extras]),
        "description": _sentences(kind, style, adjective, noun, material, shade, rng),
        "category": list(kind.path),
        "brand": brand.name,
        "price": price,
        "currency": CURRENCY,
        "tags": tags,
        "attributes": json.dumps(attributes, ensure_ascii=False),
        "locale": "en",
        "available": True,
    }


def _name(words: Words, kind: Kind, brand: Brand, taken: set[str], rng: np.random.Generator) -> tuple[str, str]:
    """A noun and "brand line", such that the two together are new in the shop."""
    while True:
        noun, line = str(rng.choice(kind.nouns)), str(rng.choice(words.lines))
        name = f"{brand.name} {line}"
        if f"{name} {noun}" not in taken:
            taken.add(f"{name} {noun}")
            return noun, name


def _sentences(
    kind: Kind, style: Style, adjective: str, noun: str, material: str, shade: str | None, rng: np.random.Generator
) -> str:
    """One to three sentences."""
    features = rng.permutation(fitting(kind.features, noun))
    uses = rng.permutation(fitting(kind.uses, noun))
    joint = {"Beauty & Care": "with", "Food & Drink": "made from"}.get(kind.path[0], "in")
    joint = "with" if kind.key == "dog_treats" else "from" if kind.key == "seeds" else joint
    of_colour = f"{shade} " if shade and shade not in material and rng.random() < 0.5 else ""
    what = _with_article(f"{adjective.lower()} {of_colour}{_lower(noun)}", noun, kind)
    first = f"{what} {joint} {material} that {features[0]}."
    second = (
        f"It {features[1]}, which makes it right for {uses[0]}."
        if rng.random() < 0.5
        else f"Made for {uses[0]} and {uses[1]}."
    )
    form = rng.random()
    if form < 0.15:
        return f"{first[:-1]}, for {uses[0]}."
    if form < 0.4:
        return f"{first} {rng.choice(style.sentences)}"
    return f"{first} {second} {rng.choice(style.sentences)}"


def _with_article(words: str, noun: str, kind: Kind) -> str:
    plural = noun.endswith("s") and not noun.endswith(_SINGULAR_IN_S)
    if plural and kind.path[0] in _PAIRS and kind.key != "seeds":
        return f"A pair of {words}"
    if plural:
        return f"A pack of {words}"
    return f"{'An' if words[0] in 'aeiou' else 'A'} {words}"


def _lower(noun: str) -> str:
    return " ".join(word if word in _KEPT_CASE else word.lower().replace("t-shirt", "T-shirt") for word in noun.split())


def _shop_price(price: float) -> float:
    """As shops write them: 7.49, 24.95, 179.00."""
    if price < 10:
        return max(round(round(price * 2) / 2 - 0.01, 2), 0.99)
    return round(price) - 0.05 if price < 100 else float(round(price / 5) * 5)
