"""Numbers as people write them in a query: 1,000 · 49.90 · 1.5k · 五十 · 两千 · 1万."""

from __future__ import annotations

DIGITS = {"零": 0, "一": 1, "二": 2, "两": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8, "九": 9}
UNITS = {"十": 10, "百": 100, "千": 1_000, "万": 10_000}
MAX_AMOUNT = 1e15
# One pattern for both scripts; an amount in words has at most eight characters. It begins where a run of digits begins and is bounded, or a
# query of a thousand digits would be tried at every place in every length.
_DIGITS = r"\d{1,15}(?:\.\d{1,4})?"
PATTERN = (
    rf"(?<!\d)(?:\d{{1,3}}(?:,\d{{3}}){{1,4}}(?:\.\d{{1,4}})?|{_DIGITS})(?:k\b|万|千|百)?"
    r"|[一二两三四五六七八九十百千万零]{1,8}"
)


def number_of(text: str) -> float | None:
    """None: no number, or one that no price reaches. Raises nothing."""
    number = _number_of(text)
    return number if number is not None and number <= MAX_AMOUNT else None


def _number_of(text: str) -> float | None:
    text = text.strip().lower().replace(",", "")
    factor = 1.0
    if text and text[0].isdigit():
        if text[-1] in ("k", "千", "百", "万"):
            factor = {"k": 1e3, "千": 1e3, "百": 1e2, "万": 1e4}[text[-1]]
            text = text[:-1]
        try:
            return float(text) * factor
        except ValueError:
            return None
    return _in_words(text)


def _in_words(text: str) -> float | None:
    """一百二十 is 1 · 100 + 2 · 10; 十五 is 15; 一百二 is 120, as it is said."""
    if not text or any(sign not in DIGITS and sign not in UNITS for sign in text):
        return None
    total, section, digit, unit = 0, 0, 0, 1
    for sign in text:
        if sign in DIGITS:
            digit = DIGITS[sign]
            unit = 1 if sign == "零" else unit
            continue
        unit = UNITS[sign]
        if unit == 10_000:
            total, section = (total + section + digit) * unit, 0
        else:
            section += (digit or (1 if unit == 10 else 0)) * unit
        digit = 0
    spoken_short = unit >= 100 and digit and text[-1] in DIGITS and len(text) > 1 and text[-2] != "零"
    return float(total + section + digit * (unit // 10 if spoken_short else 1))
