"""Prompts: what the language model reads of an item, a user and a scenario.

The templates stand in `prompts/` and are filled with `wording`, so a missing value leaves no debris: an item without any text
is the empty string, which encodes to a zero vector. A change of either changes vectors: PROMPT_VERSION goes into the
manifest, and a test holds it to what the prompts say.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources

import jinja2

from app.catalogue.item import Item, User
from app.features.wording import GENDERS, clip, facts, joined, price_band, term, terms, token_bound, words
from app.scenarios.scenario import Scenario

PROMPT_VERSION = "2"
MAX_CHARS = 1_200  # well above the encoder's 128 tokens: bounds the work, not the meaning
HEAD_TOKENS = 120  # what the encoder surely reads
CATEGORY_TOKENS, TAG_TOKENS, FACT_TOKENS, RECENT_TOKENS = 40, 30, 40, 60
MAX_AGE = 120


@cache
def _template(name: str) -> jinja2.Template:
    source = resources.files("app.features").joinpath("prompts", f"{name}.jinja").read_text("utf-8")
    return jinja2.Environment(autoescape=False).from_string(source)  # noqa: S701  plain text, never HTML


def item_text(item: Item) -> str:
    """Title and category stand first and fit into HEAD_TOKENS together; prose comes last, where the encoder cuts."""
    path, tags, brand = terms(item.category), terms(item.tags), term(item.brand)
    category = clip(" > ".join(path), CATEGORY_TOKENS)
    tags = [tag for tag in tags if tag not in path]
    short, prose = facts(item.attributes, [*path, *tags, brand])
    return _render(
        "item",
        title=clip(words(item.title), HEAD_TOKENS - token_bound(category)),
        category=category,
        brand=clip(brand, TAG_TOKENS),
        price_band=price_band(item.price, item.currency),
        tags=joined(tags, ", ", TAG_TOKENS),
        facts=joined(short, ". ", FACT_TOKENS),
        description=words(item.description),
        prose=prose,
    )


def user_text(user: User, recent_titles: Sequence[str] = ()) -> str:
    """What is known in single words comes before the free text, which may be long.

    recent_titles: newest first. The towers are trained and asked without them: see DECISIONS, "Recent titles".
    """
    short, prose = facts(user.attributes, [])
    gender = term(user.gender)
    return _render(
        "user",
        age=user.age if user.age is not None and 0 < user.age < MAX_AGE else None,
        gender=GENDERS.get(gender.casefold(), gender),
        occupation=clip(term(user.occupation), TAG_TOKENS),
        country=clip(term(user.country), TAG_TOKENS),
        tags=joined(terms(user.tags), ", ", TAG_TOKENS),
        text=words(user.text),
        recent=joined(filter(None, map(words, recent_titles)), ", ", RECENT_TOKENS),
        facts=short,
        prose=prose,
    )


def scenario_text(scenario: Scenario) -> str:
    return _render("scenario", name=words(scenario.name.replace("_", " ")), description=words(scenario.description))


def _render(template: str, /, **values: object) -> str:
    return " ".join(_template(template).render(**values).split())[:MAX_CHARS].rstrip()
