"""Price bounds in a query, English and Chinese: "under 50", "between 20 and 40", "about 30", "50元以下", "30元左右".

A number that counts something else (5 kg, 12 people, 3岁) is left alone, and so is a word such as "cheap": what it means differs from
shop to shop.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.language.numbers import PATTERN, number_of
from app.types import Json

ABOUT = 0.25  # "about 30" is 22.5 to 37.5
Bounds = Mapping[str, float]  # operator of the filter language -> amount
Span = tuple[int, int]

_SIGN = r"(?:[$€£¥￥]|usd|eur|gbp|rmb|cny)"
_COIN = r"(?:[$€£¥￥]|(?:usd|eur|gbp|rmb|cny|dollars?|euros?|bucks?|quid|yuan)\b|元|块钱|块|人民币)"
_OTHER_ONE = (  # what else is counted; pounds are money here and weight there, so they say nothing
    r"(?:(?:kgs?|kilos?|g|grams?|mg|lbs?|pounds?|oz|ounces?|ml|cl|l|lit(?:er|re)s?|cm|mm|m|met(?:er|re)s?|km|inch(?:es)?|in|ft|feet|foot|yards?|"
    r"years?|yrs?|months?|weeks?|days?|hours?|hrs?|h|min(?:ute)?s?|sec(?:ond)?s?|people|persons?|players?|guests?|kids|children|pieces?|pcs|pages?|"
    r"seats?|items?|watts?|w|v|volts?|mah|gb|tb|mb|mp|hz|degrees?|miles?|calories|kcal|percent)\b|[%°\"']|"
    r"岁|公斤|千克|斤|克|厘米|毫米|米|寸|英寸|个|件|人|天|月|年|周|小时|分钟|毫升|升|页|位|片|只|瓶|本|度|双|套|瓦|伏)"
)
_AMOUNT = rf"{_SIGN}?\s*({PATTERN})(?![\d.]*\d)(?!\s*-?\s*{_OTHER_ONE})\s*{_COIN}?"
_MONEY = rf"(?:{_SIGN}\s*({PATTERN})\s*{_COIN}?|({PATTERN})\s*{_COIN})"
# After a word that need not speak of money, the amount must: by its coin, or by standing at the end of a phrase.
_END = r"(?=\s*(?:$|[,.;!?，。；！？、)]|\b(?:and|or|but|for|please|not|no|with|without|max|each|total)\b))"


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: re.Pattern[str]
    bounds: Callable[[list[float]], Bounds]


def _rule(pattern: str, bounds: Callable[[list[float]], Bounds]) -> _Rule:
    return _Rule(re.compile(pattern, re.IGNORECASE), bounds)


def _one(operator: str) -> Callable[[list[float]], Bounds]:
    return lambda amounts: {operator: amounts[0]}


def _between(amounts: list[float]) -> Bounds:
    return {"gte": min(amounts), "lte": max(amounts)}


def _about(amounts: list[float]) -> Bounds:
    return {"gte": round(amounts[0] * (1 - ABOUT), 4), "lte": round(amounts[0] * (1 + ABOUT), 4)}


_TO = r"\s*(?:-|–|—|~|to|and|到|至)\s*"
_RULES = (
    # two bounds before one, negated comparisons before plain ones
    _rule(rf"\b(?:between|from)\s+{_AMOUNT}{_TO}{_AMOUNT}", _between),
    _rule(rf"{_MONEY}{_TO}{_AMOUNT}", _between),
    _rule(rf"(?<![\d.]){_SIGN}?\s*({PATTERN}){_TO}{_MONEY}", _between),
    _rule(rf"({PATTERN})\s*(?:到|至|-|~)\s*{_AMOUNT}之间", _between),
    _rule(rf"(?:\bno|\bnot|\bnever)\s+(?:more|higher|over|above|pricier)(?:\s+than)?\s+{_AMOUNT}", _one("lte")),
    _rule(rf"(?:\bno|\bnot|\bnever)\s+(?:less|lower|under|below|cheaper)(?:\s+than)?\s+{_AMOUNT}", _one("gte")),
    _rule(rf"(?:不超过|不高于|不多于|最多|至多|预算(?:是|在)?|最高)\s*{_AMOUNT}(?:以内|以下|之内)?", _one("lte")),
    _rule(rf"(?:不低于|不少于|至少|最少|最低|起码)\s*{_AMOUNT}(?:以上)?", _one("gte")),
    _rule(rf"(?:低于|少于|小于|便宜于)\s*{_AMOUNT}", _one("lt")),
    _rule(rf"(?:高于|超过|多于|大于)\s*{_AMOUNT}", _one("gt")),
    _rule(rf"{_AMOUNT}\s*(?:以下|以内|之内|之下)", _one("lte")),
    _rule(rf"{_AMOUNT}\s*(?:以上|起)", _one("gte")),
    _rule(rf"(?:大约|大概|差不多|约)\s*{_AMOUNT}(?:左右|上下)?", _about),
    _rule(rf"{_AMOUNT}\s*(?:左右|上下)", _about),
    _rule(rf"{_AMOUNT}\s*(?:or|and)\s+(?:less|under|below|cheaper)\b", _one("lte")),
    _rule(rf"{_AMOUNT}\s*(?:(?:or|and)\s+(?:more|up|above|over)\b|\+)", _one("gte")),
    _rule(rf"(?:\bat\s+most|\bup\s+to|\bmax(?:imum)?(?:\s+of)?\.?|≤|<=)\s*{_AMOUNT}", _one("lte")),
    _rule(rf"\b(?:my\s+)?budget(?:\s+(?:of|is))?:?\s*{_AMOUNT}", _one("lte")),
    _rule(rf"(?:\bat\s+least|\bmin(?:imum)?(?:\s+of)?\.?|\bstarting\s+(?:at|from)|≥|>=)\s*{_AMOUNT}", _one("gte")),
    _rule(rf"(?:\bunder|\bbelow|\bless\s+than|\bcheaper\s+than|<)\s*{_AMOUNT}", _one("lt")),
    _rule(rf"(?:\babove|\bmore\s+than|\bpricier\s+than|>)\s*{_AMOUNT}", _one("gt")),
    _rule(rf"\bover\s+(?:{_MONEY}|{_AMOUNT}{_END})", _one("gt")),
    _rule(rf"\bwithin\s+(?:{_MONEY}|{_AMOUNT}{_END})", _one("lte")),
    _rule(rf"(?:\babout|\baround|\bapprox(?:imately|\.)?|\broughly|\bclose\s+to|~)\s*(?:{_MONEY}|{_AMOUNT}{_END})", _about),
)  # fmt: skip


def find_prices(text: str) -> tuple[Bounds, list[Span]]:
    """Bounds, the tighter of two of a kind, and where they stand in the text, without overlaps, in order."""
    bounds: dict[str, float] = {}
    spans: list[Span] = []
    for rule in _RULES:
        for match in rule.pattern.finditer(text):
            amounts = [amount for group in match.groups() if group and (amount := number_of(group)) is not None]
            if amounts and not any(match.start() < end and start < match.end() for start, end in spans):
                spans.append(match.span())
                for operator, amount in rule.bounds(amounts).items():
                    tighter = min if operator in ("lt", "lte") else max
                    bounds[operator] = tighter(bounds.get(operator, amount), amount)
    return bounds, sorted(spans)


def price_clauses(bounds: Bounds) -> list[Json]:
    return [{"field": "price", operator: int(n) if n == int(n) else n} for operator, n in sorted(bounds.items())]
