"""Shoppers walk through the sample shop: visits of one to four slates, and the events they leave.

Visits are simulated in rounds: the first visit of everyone, the second of everyone who has one, and so on, so that a shopper
tires of what was already clicked while each round stays one array operation. Shapes: V visits of a round, N items, K
positions of a slate.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from app.catalogue.sample_shop.journal import Journal
from app.catalogue.sample_shop.oracle import Oracle, companions, want
from app.catalogue.sample_shop.products import Products
from app.catalogue.sample_shop.shoppers import Shoppers
from app.catalogue.sample_shop.words import Words
from app.types import BoolArray, Float32Array, Int64Array

SLATE_SIZE = 10
_ENTRIES = ("home", "search", "category", "promotion", "new_arrivals", "email")
_ENTRY_RATIOS = np.asarray([0.4, 0.2, 0.14, 0.1, 0.06, 0.1])
_FOLLOW_RATIO = {"similar": 0.3, "complements": 0.15, "cart": 0.35}
_MEAN_VISITS, _MAX_VISITS = 5.8, 24
_SHARPNESS = 1.6  # of the logging policy that knows tastes: higher shows more of the loved
_POLICIES, _POLICY_RATIOS = ("taste", "popular", "random"), (0.8, 0.1, 0.1)
_FAR = np.float32(-1e9)


@dataclass
class _Round:
    """The visits of one round. user [V] rows; day [V] since the start; visit [V] running numbers."""

    user: Int64Array
    day: Float32Array
    visit: Int64Array
    context: Int64Array  # item row that the visit is about, -1 before there is one
    cart: Int64Array  # item row put into the cart, -1 for an empty cart

    def part(self, chosen: BoolArray) -> _Round:
        return _Round(self.user[chosen], self.day[chosen], self.visit[chosen], self.context[chosen], self.cart[chosen])


class Shop:
    """Holds what visits change: how often each shopper took each item."""

    def __init__(
        self, words: Words, products: Products, shoppers: Shoppers, oracle: Oracle, rng: np.random.Generator
    ) -> None:
        self.words, self.products, self.shoppers, self.oracle, self.rng = words, products, shoppers, oracle, rng
        self.tired_UN = np.zeros((len(shoppers.frame), len(products.frame)), np.float32)
        self.companions_KK = companions(words)
        self.departments = np.asarray([words.departments.index(words.kinds[k].path[0]) for k in products.kind])
        self.popularity_N = 0.8 * products.quality + self.rng.normal(0, 0.6, len(products.frame)).astype(np.float32)
        self.journal = Journal()

    def run(self, start: datetime, num_days: int) -> pl.DataFrame:
        for visits in self._rounds(num_days):
            self._walk(visits)
        return self.journal.frame(self.oracle.user_ids, self.oracle.item_ids, start)

    def _rounds(self, num_days: int) -> Iterator[_Round]:
        """Days of each shopper's visits, sorted, cut into first visits, second visits, …"""
        num_users = len(self.shoppers.frame)
        spread = self.rng.lognormal(np.log(_MEAN_VISITS) - 0.18, 0.6, num_users)
        num_visits = np.minimum(np.where(self.rng.random(num_users) < 0.03, 0, np.ceil(spread)), _MAX_VISITS)
        first = np.maximum(self.shoppers.joined_day, 0.0)
        days_UV = first[:, None] + self.rng.random((num_users, _MAX_VISITS)) * (num_days - 0.1 - first)[:, None]
        days_UV[np.arange(_MAX_VISITS) >= num_visits[:, None]] = np.inf
        days_UV.sort(axis=1)
        number = 0
        for days_U in days_UV.T:
            user = np.flatnonzero(np.isfinite(days_U))
            if not len(user):
                return
            nothing = np.full(len(user), -1)
            evening = np.floor(days_U[user]) + np.clip(self.rng.normal(0.76, 0.16, len(user)), 0.02, 0.97)
            day = np.clip(evening, first[user], num_days - 0.05).astype(np.float32)
            yield _Round(user, day, number + np.arange(len(user)), nothing, nothing.copy())
            number += len(user)

    def _walk(self, visits: _Round) -> None:
        entry = self.rng.choice(len(_ENTRIES), len(visits.user), p=_ENTRY_RATIOS)
        no_mail = (entry == _ENTRIES.index("email")) & ~self.shoppers.gets_email[visits.user]
        entry[no_mail] = _ENTRIES.index("home")
        for row, scenario in enumerate(_ENTRIES):
            here = entry == row
            if here.any():
                part = visits.part(here)
                self._slate(part, scenario, step=0)
                visits.context[here], visits.cart[here] = part.context, part.cart
        self._open_product_pages(visits)
        for step, (scenario, ratio) in enumerate(_FOLLOW_RATIO.items(), start=1):
            here = self.rng.random(len(visits.user)) < ratio
            here &= visits.cart >= 0 if scenario == "cart" else visits.context >= 0
            if here.any():
                part = visits.part(here)
                if scenario == "cart":
                    part.context = part.cart
                self._slate(part, scenario, step)
                visits.cart[here] = part.cart
        self.journal.check_out(visits.visit, self.products, self.rng, self.tired_UN)

    def _open_product_pages(self, visits: _Round) -> None:
        """Shoppers who clicked nothing open a product by themselves (a link, the menu, a web search): a view."""
        rows = np.flatnonzero((visits.context < 0) | (self.rng.random(len(visits.user)) < 0.25))
        utility = self._utility(visits.user[rows], visits.day[rows], "home")
        chosen = _draw(_SHARPNESS * utility, 1, self.rng)[:, 0]
        self.journal.add("view", visits.user[rows], chosen, visits.visit[rows], visits.day[rows] + 0.001, None)
        self.tired_UN[visits.user[rows], chosen] += 3.0
        visits.context[rows] = chosen

    def _utility(self, user: Int64Array, day: Float32Array, scenario: str) -> Float32Array:
        """[V, N]: true utility, less what the shopper is tired of; far below everything for what is not out yet."""
        utility = self.oracle.utility(user, scenario) - self.tired_UN[user]
        return np.where(self.products.published_day[None, :] > day[:, None], _FAR, utility)

    def _slate(self, visits: _Round, scenario: str, step: int) -> None:
        """Show a slate, let the shoppers click and put into the cart. Fills context and cart of `visits`."""
        intent, notes = self._intent(visits, scenario)
        utility = self._utility(visits.user, visits.day, scenario) + intent
        if scenario == "new_arrivals":
            recent = self.products.published_day[None, :] > visits.day[:, None] - 45
            utility = utility + np.where(recent, 1.0, -2.0).astype(np.float32)
        shown_VK = _draw(self._policy_scores(utility, intent), SLATE_SIZE, self.rng)
        utility_VK = np.take_along_axis(utility, shown_VK, axis=1)
        position = np.arange(1, SLATE_SIZE + 1)
        looked_at = position <= np.minimum(2 + self.rng.poisson(2.6, len(visits.user)), SLATE_SIZE)[:, None]
        looked_at &= utility_VK > _FAR / 2
        clicked = looked_at & (self.rng.random(shown_VK.shape) < want(utility_VK) / (1 + 0.08 * (position - 1)))
        carted = clicked & (self.rng.random(shown_VK.shape) < 0.45 * want(utility_VK - 0.7))
        minutes = (step * 4 + 1) / 1440
        day = visits.day + np.float32(minutes)
        self.journal.add_slate(scenario, visits.user, visits.visit, day, shown_VK, looked_at, clicked, carted, notes)
        v, k = np.nonzero(clicked)
        np.add.at(self.tired_UN, (visits.user[v], shown_VK[v, k]), 3.0)
        visits.context[v[::-1]] = shown_VK[v, k][::-1]  # the first clicked one stays
        v, k = np.nonzero(carted)
        visits.cart[v[::-1]] = shown_VK[v, k][::-1]

    def _policy_scores(self, utility: Float32Array, intent: Float32Array) -> Float32Array:
        """Each slate is made by one of three policies, so that what is shown does not only mirror tastes."""
        policy = self.rng.choice(len(_POLICIES), len(utility), p=_POLICY_RATIOS)[:, None]
        blind = np.where(policy == 1, 1.5 * self.popularity_N, 0.0) + 2 * intent
        scores = np.where(policy == 0, _SHARPNESS * utility, np.where(utility <= _FAR / 2, _FAR, blind))
        return scores.astype(np.float32)

    def _intent(self, visits: _Round, scenario: str) -> tuple[Float32Array, list[str] | None]:
        """What this very visit is about, beyond long-term taste: [V, N] and a note for the events' context."""
        products = self.products
        if scenario in ("search", "category"):
            wanted = _draw(2.0 * self.shoppers.kinds[visits.user], 1, self.rng)[:, 0]
            if scenario == "search":
                intent = np.where(products.kind[None, :] == wanted[:, None], 2.0, -2.5)
                return intent.astype(np.float32), [self._query(kind) for kind in wanted]
            paths = [self.words.kinds[kind].path[0] for kind in wanted]
            department = np.asarray([self.words.departments.index(path) for path in paths])
            intent = np.where(self.departments[None, :] == department[:, None], 0.8, -4.0)
            return intent.astype(np.float32), [_note(category=path) for path in paths]
        if scenario not in _FOLLOW_RATIO:
            return np.zeros((1, 1), np.float32), None
        about = visits.context
        notes = [_note(context_item=self.oracle.item_ids[row]) for row in about]
        if scenario == "similar":
            same_kind = products.kind[None, :] == products.kind[about][:, None]
            same_style = products.style[None, :] == products.style[about][:, None]
            intent = 1.6 * same_kind + 0.6 * same_style - 0.8
        else:
            intent = 6.0 * self.companions_KK[products.kind[about]][:, products.kind] - 0.6
        intent[np.arange(len(about)), about] = _FAR
        return intent.astype(np.float32), notes

    def _query(self, kind_row: int) -> str:
        kind = self.words.kinds[kind_row]
        noun = str(self.rng.choice(kind.nouns)).lower()
        adjunct = self.rng.random()
        if adjunct < 0.3:
            return _note(query=f"{self.rng.choice(kind.styles)} {noun}")
        if adjunct < 0.6:
            return _note(query=f"{noun} for {self.rng.choice(kind.uses)}")
        return _note(query=noun)


def _note(**members: str) -> str:
    return json.dumps(members, ensure_ascii=False)


def _draw(scores: Float32Array, count: int, rng: np.random.Generator) -> Int64Array:
    """`count` columns of each row, drawn without replacement with odds exp(score): Gumbel top-k, best first."""
    keys = scores - np.log(rng.standard_exponential(scores.shape, dtype=np.float32) + np.float32(1e-20))
    top = np.argpartition(-keys, count - 1, axis=1)[:, :count] if count < scores.shape[1] else np.argsort(-keys, axis=1)
    order = np.argsort(-np.take_along_axis(keys, top, axis=1), axis=1)
    return np.take_along_axis(top, order, axis=1)
