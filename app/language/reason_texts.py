"""Sentences of reasons in the shopper's language, from the templates in `reasons/`, one file a language.

Templates are format strings; what is filled in is never read as one. Texts are plain text: a title with `<b>` stays as it is,
line breaks and other control characters become blanks.
"""

from __future__ import annotations

import tomllib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

DEFAULT_LANGUAGE = "en"
MAX_CHARS = 80  # of a title or of the shopper's words
_JOINERS = "\u200c\u200d"  # of Persian words and of emoji
_BREAKS = {"Cc", "Cs", "Zl", "Zp"}  # control characters, halves of a surrogate pair, line and paragraph separators


@dataclass(frozen=True, slots=True)
class ReasonTexts:
    """phrases: group -> key -> template."""

    language: str
    phrases: Mapping[str, Mapping[str, str]]

    def say(self, group: str, key: str, /, **values: str) -> str:
        """The sentence of a key, or of the group's "other"."""
        templates = self.phrases[group]
        template = templates.get(key) or templates["other"]
        return template.format(**{name: readable(value) for name, value in values.items()})

    def add_common(self, reason: str, attribute: str, value: str) -> str:
        """A sentence with what the two items have in common behind it."""
        key = attribute if attribute in self.phrases["common"] else "attribute"
        name = attribute.removeprefix("attributes.")
        return self.phrases["common"][key].format(reason=reason, attribute=readable(name), value=readable(value))


def texts_for(*locales: object) -> ReasonTexts:
    """In the language of the first locale that there are templates for ("zh", "zh-CN", "zh_Hans_CN"), else English."""
    for locale in locales:
        if isinstance(locale, str):
            language = locale.replace("_", "-").split("-")[0].strip().lower()
            if language in languages():
                return _texts(language)
    return _texts(DEFAULT_LANGUAGE)


@cache
def languages() -> frozenset[str]:
    files = resources.files("app.language").joinpath("reasons").iterdir()
    return frozenset(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def readable(value: str) -> str:
    """One line without control and invisible characters, cut at MAX_CHARS."""
    line = " ".join("".join(map(_shown, value[: 4 * MAX_CHARS])).split())
    return line if len(line) <= MAX_CHARS else line[: MAX_CHARS - 1].rstrip() + "…"


def _shown(character: str) -> str:
    category = unicodedata.category(character)
    if category in _BREAKS:
        return " "
    return "" if category == "Cf" and character not in _JOINERS else character


@cache
def _texts(language: str) -> ReasonTexts:
    source = resources.files("app.language").joinpath("reasons", f"{language}.toml").read_text("utf-8")
    return ReasonTexts(language, tomllib.loads(source))
