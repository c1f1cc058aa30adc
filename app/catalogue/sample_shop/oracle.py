"""What each shopper of the sample shop truly wants, in each scenario: the yardstick no model may see.

Shapes: U users, N items, F properties. Utility is bilinear: a shopper's tastes times an item's properties, weighted by
what the scenario makes of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.catalogue.sample_shop.products import Products
from app.catalogue.sample_shop.shoppers import Shoppers
from app.catalogue.sample_shop.words import Words
from app.types import Float32Array, Int64Array

# How much each taste counts in a scenario. `companions`: kinds that go with the loved ones. `cheap`: dislike of dear items.
SCENARIOS: Mapping[str, Mapping[str, float]] = {
    "home": {"kinds": 5.0, "styles": 2.6, "price": 1.6, "brands": 0.3, "colours": 0.2, "quality": 0.8},
    "similar": {"kinds": 4.5, "styles": 3.4, "price": 1.6, "brands": 0.3, "colours": 0.3, "quality": 0.8},
    "complements": {"kinds": 2.0, "companions": 4.0, "styles": 2.3, "price": 1.2, "brands": 0.3, "quality": 0.8},
    "cart": {"kinds": 2.0, "companions": 4.0, "styles": 1.8, "price": 0.8, "cheap": 2.0, "quality": 0.8},
    "search": {"kinds": 5.0, "styles": 2.1, "price": 2.0, "brands": 0.3, "colours": 0.2, "quality": 1.0},
    "category": {"kinds": 4.0, "styles": 2.6, "price": 1.6, "brands": 0.3, "colours": 0.2, "quality": 1.4},
    "promotion": {"kinds": 4.0, "styles": 1.8, "price": 0.8, "brands": 0.2, "quality": 0.8, "discount": 9.0},
    "new_arrivals": {"kinds": 4.5, "styles": 2.6, "price": 1.2, "brands": 0.3, "quality": 0.8, "new": 2.0},
    "email": {"kinds": 4.5, "styles": 1.8, "price": 1.2, "brands": 3.0, "quality": 0.8},
}
_INDIFFERENCE = 5.6  # utility at which wanting is a coin toss


@dataclass(frozen=True)
class Oracle:
    """users: taste name -> [U, F_taste], items: taste name -> [N, F_taste]; `affinity` joins the two."""

    user_ids: tuple[str, ...]
    item_ids: tuple[str, ...]
    users: Mapping[str, Float32Array]
    items: Mapping[str, Float32Array]

    def affinity(self, user_ids: Sequence[str], scenario: str) -> Float32Array:
        """Probability that each of these shoppers wants each item in this scenario: float32 [U, N], as `item_ids` stand.

        For scenarios that start from an item or a query, the mean over what this shopper starts from. KeyError: unknown.
        """
        row_of = {user_id: row for row, user_id in enumerate(self.user_ids)}
        return want(self.utility(np.asarray([row_of[user_id] for user_id in user_ids], np.int64), scenario))

    def utility(self, rows: Int64Array, scenario: str) -> Float32Array:
        weights = SCENARIOS[scenario]
        users = np.hstack([weight * self.users[taste][rows] for taste, weight in weights.items()])
        items = np.hstack([self.items[taste] for taste in weights])
        utility: Float32Array = (users @ items.T).astype(np.float32, copy=False)
        return utility

    def save(self, path: Path) -> None:
        tastes = {f"user_{name}": array for name, array in self.users.items()}
        tastes |= {f"item_{name}": array for name, array in self.items.items()}
        np.savez_compressed(
            path, allow_pickle=False, user_ids=np.asarray(self.user_ids), item_ids=np.asarray(self.item_ids), **tastes
        )

    @classmethod
    def load(cls, path: Path) -> Oracle:
        with np.load(path) as saved:
            users = {name.removeprefix("user_"): saved[name] for name in saved if name.startswith("user_")}
            items = {name.removeprefix("item_"): saved[name] for name in saved if name.startswith("item_")}
        user_ids, item_ids = users.pop("ids").tolist(), items.pop("ids").tolist()
        return cls(tuple(user_ids), tuple(item_ids), users, items)


def want(utility: Float32Array) -> Float32Array:
    return np.asarray(1.0 / (1.0 + np.exp(_INDIFFERENCE - utility)), np.float32)


def make_oracle(words: Words, products: Products, shoppers: Shoppers, num_days: int) -> Oracle:
    kinds, styles, brands = (len(part) for part in (words.kinds, words.styles, words.brands))
    num_users, level = len(shoppers.frame), products.level
    everyone = np.ones((num_users, 1), np.float32)
    kind_NK = np.eye(kinds, dtype=np.float32)[products.kind]
    colour_NC = np.eye(len(words.colours), dtype=np.float32)[products.colour] * (products.colour >= 0)[:, None]
    users = {
        "kinds": shoppers.kinds,
        "companions": np.minimum(shoppers.kinds @ companions(words), 1.2),
        "styles": shoppers.styles,
        "price": np.column_stack([2 * shoppers.level, -np.ones(num_users), -(shoppers.level**2)]),
        "brands": shoppers.brands,
        "colours": shoppers.colours,
        "quality": everyone,
        "discount": 0.4 + shoppers.thrift[:, None],
        "cheap": everyone,
        "new": everyone,
    }
    items = {
        "kinds": kind_NK,
        "companions": kind_NK,
        "styles": np.eye(styles)[products.style],
        "price": np.column_stack([level, level**2, np.ones(len(level))]),  # times the shopper's: -(own - item level)²
        "brands": np.eye(brands)[products.brand],
        "colours": colour_NC,
        "quality": products.quality[:, None],
        "discount": products.discount[:, None],
        "cheap": -level[:, None],
        "new": (products.published_day > num_days - 30)[:, None],
    }
    return Oracle(
        tuple(shoppers.frame["user_id"]),
        tuple(products.frame["item_id"]),
        {name: np.asarray(array, np.float32) for name, array in users.items()},
        {name: np.asarray(array, np.float32) for name, array in items.items()},
    )


def companions(words: Words) -> Float32Array:
    """[K, K]: row kind -> the kinds that go with it, each row summing to 1."""
    matrix = np.zeros((len(words.kinds), len(words.kinds)), np.float32)
    for row, kind in enumerate(words.kinds):
        for key in kind.goes_with:
            matrix[row, words.kind_row[key]] = 1.0 / len(kind.goes_with)
    return matrix
