"""Prompts over arbitrary subsets of attributes, some of them missing in all the ways that exports have for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.catalogue.item import Item, User
from app.features.texts import item_text, scenario_text, user_text
from app.scenarios.scenario import Scenario

MISSING: list[Any] = [None, "", "  ", "None", "nan", "N/A", "\t\n", "\x00", "...", " , ", "<br/>"]
NO_WORDS = [*MISSING[:3], "\t\n", "\x00", "...", " , ", "<br/>", "&nbsp;"]  # of a free text, which may say "None"
VALUES: Mapping[str, Any] = {
    "title": "Blue  <b>mug</b>,", "description": "A mug &amp; more.\n Dishwasher-safe!", "brand": " Nordhem ", "price": 4.5,
    "category": ("Home", "Kitchen"), "tags": ("gift", "tea"),
}  # fmt: skip
SAID = {
    "title": "Blue mug", "category": "Home > Kitchen", "brand": "by Nordhem", "price": "very cheap", "tags": "gift, tea",
    "description": "A mug & more. Dishwasher-safe!",
}  # fmt: skip
USER_VALUES: Mapping[str, Any] = {
    "age": 31, "gender": "F", "occupation": "nurse", "country": "France", "tags": ("hiking", "tea"), "text": " I fish. ",
}  # fmt: skip
USER_SAID = {
    "age": "aged 31", "gender": "female", "occupation": "works as nurse", "country": "lives in France",
    "tags": "interested in hiking, tea", "text": "I fish",
}  # fmt: skip
ATTRIBUTES: Mapping[str, Any] = {
    "colour": "red",
    "size": 4.0,
    "parts": 3,
    "material": ["wool", "silk"],
    "organic": True,
}
ATTRIBUTES_SAID = {
    "colour": "colour: red", "size": "size: 4", "parts": "parts: 3", "material": "material: wool, silk",
    "organic": "organic",
}  # fmt: skip
UNSAID_ATTRIBUTES: list[Any] = [
    *MISSING,
    False,
    float("nan"),
    float("inf"),
    [],
    [None, ""],
    {"a": 1},
    [{"a": 1}],
    "http://x/y",
]
DEBRIS = re.compile(
    r"  |None|\bnan\b|\binf\b|, ,|,,|\. \.|\.\.|: \.|:\s*$|,\s*$|>\s*$|> >|<|\b(by|as|in|aged|with)\.?(\s*$|\. )|\s$|^\s|^[.,;:]"
)


def some(names: Mapping[str, Any], missing: list[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Which fields are there (True) and, for the others, how they are missing (False: left out)."""
    return st.fixed_dictionaries(
        {name: st.one_of(st.just(True), st.just(False), st.sampled_from(missing)) for name in names}
    )


def missing_as(name: str, how: Any) -> Any:
    if name in ("category", "tags"):
        return (how,) if isinstance(how, str) else ()
    if name in ("price", "age"):
        return None
    if name in ("title", "description", "text"):
        return how if how in NO_WORDS else None
    return how


def fields(chosen: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: values[name] if how is True else missing_as(name, how) for name, how in chosen.items() if how is not False
    }


@given(some(VALUES, MISSING), some(ATTRIBUTES, UNSAID_ATTRIBUTES))
def test_an_item_text_is_the_clauses_of_what_is_there(item: dict[str, Any], attributes: dict[str, Any]) -> None:
    there = {name: ATTRIBUTES[name] if attributes[name] is True else attributes[name] for name in ATTRIBUTES}
    text = item_text(Item("1", **fields(item, VALUES), attributes=there))
    before = [SAID[name] for name in SAID if name != "description" and item[name] is True]
    short = [ATTRIBUTES_SAID[name] for name in ATTRIBUTES if attributes[name] is True]
    after = [SAID["description"]] if item["description"] is True else []
    assert text == ". ".join(before + short + after)
    assert not DEBRIS.search(text), text


@given(
    some(USER_VALUES, MISSING), some(ATTRIBUTES, UNSAID_ATTRIBUTES), st.lists(st.sampled_from(["Blue mug", *NO_WORDS[1:]]), max_size=10),
)  # fmt: skip
def test_a_user_text_is_the_clauses_of_what_is_there(
    user: dict[str, Any], attributes: dict[str, Any], recent: list[str]
) -> None:
    there = {name: ATTRIBUTES[name] if attributes[name] is True else attributes[name] for name in ATTRIBUTES}
    text = user_text(User("1", **fields(user, USER_VALUES), attributes=there), recent)
    clauses = [USER_SAID[name] for name in USER_SAID if user[name] is True]
    clauses += ["lately " + ", ".join(["Blue mug"] * recent.count("Blue mug"))] if "Blue mug" in recent else []
    clauses += [ATTRIBUTES_SAID[name] for name in ATTRIBUTES if attributes[name] is True]
    assert text == ("A shopper: " + ". ".join(clauses) if clauses else "")
    assert not DEBRIS.search(text), text


@given(
    st.sampled_from(["home", "new_arrivals", "a  b", "_"]),
    st.sampled_from([*NO_WORDS[1:], "What is new.", "None of it"]),
)
def test_a_scenario_text(name: str, description: str) -> None:
    text = scenario_text(Scenario(name, description))
    assert not re.search(r"  |: *$|^ *:|<|_|\s$", text), text
    for word in ("What is new", "None of it"):
        assert (word in text) == (word in description)


ANY_TEXT = st.one_of(st.none(), st.text(max_size=300))
ANY_VALUE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=80)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=2)),
    max_leaves=6,
)


@given(
    ANY_TEXT, ANY_TEXT, st.lists(st.text(max_size=50), max_size=4), ANY_TEXT,
    st.one_of(st.none(), st.floats()), st.one_of(st.none(), st.text(max_size=4)), st.dictionaries(st.text(max_size=20), ANY_VALUE, max_size=15),
)  # fmt: skip
def test_whatever_stands_in_an_item_gives_one_tidy_line(
    title: str | None, description: str | None, tags: list[str], brand: str | None, price: float | None,
    currency: str | None, attributes: dict[str, Any],
) -> None:  # fmt: skip
    item = Item("1", title=title, description=description, category=tuple(tags), tags=tuple(tags), brand=brand,
                price=price, currency=currency, attributes=attributes)  # fmt: skip
    text = item_text(item)
    assert text == " ".join(text.split())
    assert len(text) <= 1_200
    assert not any(ord(character) < 32 for character in text)
    assert not text or any(character.isalnum() for character in text)
    user = User(
        "1", text=description, gender=brand, occupation=title, country=currency, tags=tuple(tags), attributes=attributes
    )
    assert user_text(user) == " ".join(user_text(user).split())


WORDS = st.lists(st.sampled_from(
    ["retrospot", "blue", "lunch", "bag", "of", "the", "wool", "stainless-steel", "waterproof", "Windjacke", "Größe", "3000mAh", "extraordinary", "internationalisation", "手机", "官方旗舰店", "увлажняющий", "крем", "손목시계", "القهوة", "X-7f/99", "🎁", "(2-pack)"]
), min_size=60, max_size=150).map(" ".join)  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from app.encoding.encoder import MAX_TOKENS, load_model

    tokenizer = load_model("default", "float32").tokenizer
    return lambda text: tokenizer(text, truncation=True, max_length=MAX_TOKENS)["input_ids"]


@given(title=WORDS, category=WORDS, description=WORDS)
def test_title_and_category_are_read_before_the_encoder_cuts(
    tokenizer: Any, title: str, category: str, description: str
) -> None:
    """With and without all else, the first tokens up to the end of the category are the same, and all of them are read."""
    long = item_text(
        Item("1", title=title, category=(category[:70], "Deep"), description=description, tags=(description,))
    )
    head = item_text(Item("1", title=title, category=(category[:70], "Deep")))
    assert long.startswith(head)
    read = tokenizer(head)
    assert len(read) < 128
    assert tokenizer(long)[: len(read) - 1] == read[:-1]  # but for the closing token


def test_a_short_title_is_never_cut(tokenizer: Any) -> None:
    title = "Extraordinarily comfortable waterproof trekking boots with ankle support, men's, brown, size 44"
    text = item_text(Item("1", title=title, category=("Sports & outdoors", "Shoes"), description="word " * 1_000))
    assert text.startswith(f"{title}. Sports & outdoors > Shoes. word word")
