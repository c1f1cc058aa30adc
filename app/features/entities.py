"""What an item is linked to in the knowledge graph: brand, category path, tags, attributes, price band.

An entity is known by a stable 64-bit key, so that an item described after training finds the entities of training again.
"""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Iterator

import numpy as np

from app.catalogue.item import Item
from app.types import Int64Array

MAX_VALUE_CHARS = 60  # longer attribute values are prose, which the text vectors read
MAX_ATTRIBUTES = 30
BANDS_PER_DOUBLING = 2.0  # price bands: a price and its 1.4-fold stand in neighbouring ones


def entities_of(item: Item) -> Iterator[tuple[str, str]]:
    """(relation, value). Every prefix of the category path is an entity of its own."""
    if item.brand:
        yield "brand", item.brand
    for depth in range(1, len(item.category) + 1):
        yield "category", "\x1f".join(item.category[:depth])
    for tag in item.tags:
        yield "tag", tag
    if item.price is not None and item.price > 0 and math.isfinite(item.price):
        yield "price", str(math.floor(BANDS_PER_DOUBLING * math.log2(item.price)))
    for name, value in list(item.attributes.items())[:MAX_ATTRIBUTES]:
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, bool | int | str) and 0 < len(str(part)) <= MAX_VALUE_CHARS:
                yield f"attribute {name}", str(part)


def entity_keys(item: Item) -> Int64Array:
    """Different keys, rising."""
    return np.unique(np.frombuffer(b"".join(_digest(*entity) for entity in entities_of(item)), np.int64))


def entities_by_key(item: Item) -> dict[int, tuple[str, str]]:
    """The entities behind `entity_keys`."""
    return {int.from_bytes(_digest(*entity), sys.byteorder, signed=True): entity for entity in entities_of(item)}


def _digest(relation: str, value: str) -> bytes:
    return hashlib.blake2b(f"{relation}\x1f{value}".encode(), digest_size=8).digest()
