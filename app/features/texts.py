"""Prompts: what the language model reads of an item, a user and a scenario.

The templates stand in `prompts/`; a change to one changes every vector, so PROMPT_VERSION goes into the manifest. A missing
value leaves no debris: an item without any text is the empty string, which encodes to a zero vector.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import resources

import jinja2

from app.catalogue.item import Item, User
from app.scenarios.scenario import Scenario
from app.types import Attributes

PROMPT_VERSION = "1"
MAX_CHARS = 1_200  # well above the encoder's 128 tokens: bounds the work, not the meaning
MAX_ATTRIBUTES = 12

# Borders of the price bands, in the shop's own currency: a word carries further in a text encoder than a figure.
PRICE_BANDS = (
    (5.0, "very cheap"),
    (15.0, "cheap"),
    (50.0, "mid-priced"),
    (150.0, "expensive"),
    (float("inf"), "luxury"),
)


@cache
def _template(name: str) -> jinja2.Template:
    source = resources.files("app.features").joinpath("prompts", f"{name}.jinja").read_text("utf-8")
    return jinja2.Environment(autoescape=False).from_string(source)  # noqa: S701  plain text, never HTML


def item_text(item: Item) -> str:
    return _render("item", item=item, price_band=_price_band(item.price), attributes=list(_readable(item.attributes)))


def user_text(user: User) -> str:
    return _render("user", user=user, attributes=list(_readable(user.attributes)))


def scenario_text(scenario: Scenario) -> str:
    return _render("scenario", scenario=scenario)


def _render(name: str, **values: object) -> str:
    return " ".join(_template(name).render(**values).split())[:MAX_CHARS]


def _price_band(price: float | None) -> str | None:
    return None if price is None else next(word for border, word in PRICE_BANDS if price < border)


def _readable(attributes: Attributes) -> Iterator[tuple[str, str]]:
    """Attributes a person could read aloud; links, codes and nested values are left out."""
    shown = 0
    for name, value in attributes.items():
        if shown == MAX_ATTRIBUTES:
            return
        text = ", ".join(map(str, value)) if isinstance(value, list) else value
        if (
            isinstance(text, bool)
            or not isinstance(text, str | int | float)
            or "://" in str(text)
            or name.endswith("_id")
        ):
            continue
        shown += 1
        yield name.replace("_", " "), str(text)
