"""The scenarios every shop has from the start. Their descriptions are words the model reads: they initialise its
parameters for a scenario that has no data yet, so each says what the shopper wants there."""

from __future__ import annotations

from collections.abc import Mapping

from app.scenarios.scenario import Exclusions, Scenario, Weight

# Words and pins count wherever there are any: no log says what they are worth, so "learned" is a rule there (see `Fusion.resolve`).
ASKED: Mapping[str, Weight] = {"editorial": "learned", "query": "learned"}
LEARNED: Mapping[str, Weight] = {
    "two_tower": "learned", "item_cf": "learned", "user_cf": "learned", "matrix_factorisation": "learned", "content": "learned",
    "knowledge_graph": "learned", "complements": "learned", "popular": "learned", "trending": "learned", "new": "learned", **ASKED,
}  # fmt: skip
# `repeat` is for placements that may show again what was bought: a scenario that names it keeps purchases no longer away.
LEARNED_WITH_REPEATS: Mapping[str, Weight] = {**LEARNED, "repeat": "learned"}
# Until a shop has clicks on its new-arrivals page there is nothing to fit, and the page must show what its name says.
NEWEST_FIRST: Mapping[str, Weight] = {"two_tower": 0.6, "item_cf": 0.2, "popular": 0.1, "new": 1.0, **ASKED}

_ALL = (
    Scenario(
        "home",
        "Home page: a personal selection from the whole shop for someone who has just arrived and is looking around.",
        LEARNED,
    ),
    Scenario(
        "similar",
        "Product page: alternatives to the product being viewed, alike in kind, style and price, one of which may fit better.",
        LEARNED,
    ),
    Scenario(
        "complements",
        "Product page: things that go together with the product being viewed and are bought along with it, not replacements for it.",
        LEARNED,
    ),
    Scenario(
        "cart",
        "Shopping cart: useful additions to what is already in the cart, just before checkout.",
        LEARNED,
    ),
    Scenario(
        "search",
        "Search results: products for someone who is looking for something specific and wants to find it quickly.",
        LEARNED,
    ),
    Scenario(
        "category",
        "Category page: the most suitable products for someone browsing one department of the shop.",
        LEARNED,
    ),
    Scenario(
        "promotion",
        "Promotion page: offers and discounts that are worth a look for bargain hunters.",
        LEARNED,
    ),
    Scenario(
        "new_arrivals",
        "New arrivals: products that have just come into the shop, for someone who wants to see what is new.",
        NEWEST_FIRST,
        fallback=("new", "popular"),
    ),
    Scenario(
        "email",
        "Email newsletter: a few inspiring products that bring a customer back to the shop, favourites to buy again included.",
        LEARNED_WITH_REPEATS,
        exclude=Exclusions(purchased_days=0.0),
        n=10,
    ),
)
READY_MADE: Mapping[str, Scenario] = {scenario.name: scenario for scenario in _ALL}
