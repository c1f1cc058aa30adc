"""Sentences of reasons: every key in every language, titles filled in as they are but on one line."""

import string

import pytest

from app.language.reason_texts import MAX_CHARS, languages, readable, texts_for

ENGLISH = texts_for("en")
KEYS = [(group, key) for group, templates in ENGLISH.phrases.items() for key in templates]


def blanks_of(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def test_english_and_chinese_are_there() -> None:
    assert {"en", "zh"} <= languages()


@pytest.mark.parametrize("language", sorted(languages()))
def test_a_language_has_every_sentence_with_the_same_blanks(language: str) -> None:
    texts = texts_for(language)
    assert texts.language == language
    assert [(group, key) for group, templates in texts.phrases.items() for key in templates] == KEYS
    for group, key in KEYS:
        assert blanks_of(texts.phrases[group][key]) == blanks_of(ENGLISH.phrases[group][key]), (group, key)


@pytest.mark.parametrize(
    ("locale", "language"),
    [
        ("zh", "zh"), ("zh-CN", "zh"), ("zh_Hans_CN", "zh"), ("ZH-tw", "zh"), ("en-GB", "en"), ("xx", "en"), ("", "en"), (7, "en"),
        (None, "en"), ("../zh", "en"),
    ],
)  # fmt: skip
def test_the_language_of_a_locale(locale: object, language: str) -> None:
    assert texts_for(locale).language == language


def test_the_first_locale_that_is_known_wins() -> None:
    assert texts_for(None, "zh-CN").language == "zh"
    assert texts_for("en", "zh-CN").language == "en"
    assert texts_for("tlh", "zh").language == "zh"


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        ("Lunch box", "Lunch box"),
        ("<b>Pan & pot</b> \"x\" 'y'", "<b>Pan & pot</b> \"x\" 'y'"),
        ("{title} {0} {reason!r} %s", "{title} {0} {reason!r} %s"),
        ("two\nlines\r\n\tand\x00 more\x1b[31m\x7f", "two lines and more [31m"),
        ("left\u2028right\u202egnirts\u200b", "left rightgnirts"),
        ("茶具 👨‍👩‍👧", "茶具 👨‍👩‍👧"),
        ("half \ud800 pair", "half pair"),
        ("x" * 300, "x" * (MAX_CHARS - 1) + "…"),
    ],
)
def test_a_title_is_passed_as_it_is_on_one_line(title: str, shown: str) -> None:
    assert readable(title) == shown
    assert ENGLISH.say("history", "view", title=title) == f"Because you looked at “{shown}”"


def test_an_unknown_key_is_said_in_general() -> None:
    assert ENGLISH.say("history", "bookmark", title="Pan") == "Because of your interest in “Pan”"
    assert ENGLISH.say("source", "two_tower") == "Chosen for this page"


@pytest.mark.parametrize(
    ("attribute", "value", "english", "chinese"),
    [
        ("brand", "Lodge", "Because, also from Lodge", "因为，同为Lodge品牌"),
        ("category", "Kitchen › Pans", "Because, also in Kitchen › Pans", "因为，同属Kitchen › Pans"),
        ("tag", "cast iron", "Because, also “cast iron”", "因为，同为“cast iron”"),
        ("price", "20", "Because, in a similar price range", "因为，价位相近"),
        ("attributes.colour", "red", "Because, also colour: red", "因为，colour同为red"),
        ("attributes.brand", "red", "Because, also brand: red", "因为，brand同为red"),
    ],
)
def test_what_two_items_have_in_common(attribute: str, value: str, english: str, chinese: str) -> None:
    assert ENGLISH.add_common("Because", attribute, value) == english
    assert texts_for("zh").add_common("因为", attribute, value) == chinese
