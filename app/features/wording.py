"""Values as a person would read them aloud, or "" where there is nothing to say: what the prompt templates are filled with."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Iterator, Mapping

from app.types import Attributes, Json

MAX_ATTRIBUTES, MAX_LIST = 12, 12
LONG_VALUE = 60  # characters above which an attribute is prose, and stands behind the description
LONGEST_WORD = 30

# Words that stand for a missing value in other people's exports; never applied to titles and free text.
SAYS_NOTHING = {"", "none", "null", "nan", "n/a", "unknown", "undefined", "other", "not specified", "<na>"}
GENDERS = {"m": "male", "male": "male", "f": "female", "female": "female"}

# Borders of the price bands, in dollars or the like: a word carries further in a text encoder than a figure.
PRICE_BANDS = (
    (0.005, "free"),
    (5.0, "very cheap"),
    (15.0, "cheap"),
    (50.0, "mid-priced"),
    (150.0, "expensive"),
    (math.inf, "luxury"),
)
# Currencies whose unit is worth far less: about how many make a dollar. Orders of magnitude, not rates.
UNITS: Mapping[str, float] = {
    "JPY": 150, "KRW": 1_300, "VND": 25_000, "IDR": 16_000, "INR": 85, "HUF": 360, "CLP": 950, "COP": 4_000, "PHP": 57,
    "THB": 35, "TWD": 32, "RUB": 90, "CZK": 23, "SEK": 10, "NOK": 10, "DKK": 7, "ZAR": 18, "MXN": 18, "CNY": 7, "HKD": 8,
    "ARS": 1_000, "NGN": 1_500, "PKR": 280, "TRY": 35, "UAH": 41, "ISK": 135, "KES": 130, "EGP": 50,
}  # fmt: skip

_CODE = re.compile(r"(^|[_ ])(id|code|url|no|number|hash|sku|ean|gtin|isbn|uuid)$", re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b\ufeff]")
_EDGES = " .,;:|/•·–—-"
_TOKEN = re.compile(r"[A-Za-z]+|[\uac00-\ud7a3]|\S")


def words(value: object) -> str:
    """One line without markup, double blanks or punctuation at its ends (templates set their own); "" if it says nothing."""
    if isinstance(value, float):
        value = f"{value:g}" if math.isfinite(value) else ""
    text = "" if value is None else html.unescape(_TAG.sub(" ", str(value)))
    text = " ".join(_CONTROL.sub(" ", text).split())
    text = text.lstrip(" .,;:|•·").rstrip(_EDGES)
    return text if any(character.isalnum() for character in text) else ""


def term(value: object) -> str:
    """`words` of a field with a vocabulary of its own: a brand, a tag, an attribute."""
    text = words(value)
    return "" if text.casefold() in SAYS_NOTHING else text


def terms(values: Iterable[object]) -> list[str]:
    """Different ones, in order, MAX_LIST at most."""
    return list(dict.fromkeys(filter(None, map(term, values))))[:MAX_LIST]


def price_band(price: float | None, currency: str | None) -> str:
    if price is None or not 0 <= price < math.inf:
        return ""
    dollars = price / UNITS.get((currency or "").upper(), 1.0)
    return next(word for border, word in PRICE_BANDS if dollars < border)


def facts(attributes: Attributes, said: Iterable[str]) -> tuple[list[str], list[str]]:
    """Attributes that can be read aloud, as "name: value": the short ones and the prose. A true one is its name.

    Links, codes, nested values and what was `said` already are left out. MAX_ATTRIBUTES at most.
    """
    known = {value.casefold() for value in said}
    short: list[str] = []
    prose: list[str] = []
    for name, value in _readable(attributes):
        if len(short) + len(prose) == MAX_ATTRIBUTES:
            break
        if value.casefold() not in known:
            (prose if len(value) > LONG_VALUE else short).append(f"{name}: {value}" if value != name else name)
    return short, prose


def _readable(attributes: Attributes) -> Iterator[tuple[str, str]]:
    for key, value in attributes.items():
        name = words(key.replace("_", " "))
        if not name or _CODE.search(key):
            continue
        if value is True:
            said = name.removeprefix("is ").removeprefix("has ")
            yield said, said
            continue
        text = (
            ", ".join(terms(entry for entry in value if _is_plain(entry))) if isinstance(value, list) else term(value)
        )
        if text and _is_plain(value if not isinstance(value, list) else text) and "://" not in text:
            yield name, text


def _is_plain(value: Json) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def clip(text: str, max_tokens: int) -> str:
    """The start of `text` that an encoder surely reads as at most max_tokens tokens, cut between words where there are any."""
    left, end = max_tokens, 0
    for part in _TOKEN.finditer(text):
        left -= token_bound(part.group())
        if left < 0:
            end = end or part.start() + 2 * max_tokens  # one endless word
            space = text.rfind(" ", max(end - LONGEST_WORD, 0), end + 1)
            return words(text[: space if space > 0 else end])
        end = part.end()
    return text


def joined(parts: Iterable[str], separator: str, max_tokens: int) -> str:
    """As many whole parts, from the first on, as `clip` would let stand."""
    kept: list[str] = []
    for part in parts:
        max_tokens -= token_bound(part + separator)
        if max_tokens < 0:
            break
        kept.append(part)
    return separator.join(kept)


def token_bound(text: str) -> int:
    """An upper bound of the WordPiece tokens of real text: half a token a letter, one for any other sign (Hangul: its 3 parts)."""
    return sum(
        3 if "\uac00" <= part[0] <= "\ud7a3" else (len(part) + 1) // 2 if part.isascii() and part.isalpha() else 1
        for part in _TOKEN.findall(text)
    )
