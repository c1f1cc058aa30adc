"""The filter language of the HTTP contract: JSON in, a mask over the catalogue out.

`parse_filter` refuses what cannot be meant (unknown field or operator, a value of the wrong kind) with the place where
it stands; a parsed filter only fails when it refers to a viewed item and there is none.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, cast, get_args

from app.catalogue.item import Item
from app.errors import Invalid
from app.retrieval.clauses import All, Any, Clause, ContextItem, Node, Not, Operator
from app.retrieval.columns import Columns
from app.retrieval.item_fields import FIELD_KINDS, Kind, kind_of, scalar_of
from app.types import BoolArray, time_of

MAX_DEPTH = 10
MAX_CLAUSES = 100
MAX_VALUES = 1_000  # of one `in` or `not_in`

OPERATORS: tuple[Operator, ...] = get_args(Operator)
Combinator = Literal["and", "or", "not"]
COMBINATORS: tuple[Combinator, ...] = get_args(Combinator)
Loc = tuple[str | int, ...]
_ORDERED: tuple[Kind, ...] = ("string", "number", "time", "attribute")
_SCALAR: tuple[Kind, ...] = ("string", "number", "time", "bool", "attribute")
_KINDS_OF_OPERATOR: Mapping[Operator, tuple[Kind, ...]] = {
    "eq": get_args(Kind), "ne": get_args(Kind), "exists": get_args(Kind),
    "lt": _ORDERED, "lte": _ORDERED, "gt": _ORDERED, "gte": _ORDERED,
    "in": _SCALAR, "not_in": _SCALAR, "contains": ("list", "attribute"),
}  # fmt: skip
_EXPECTED: Mapping[Kind, str] = {
    "string": "a string", "number": "a finite number", "bool": "true or false",
    "time": "an RFC 3339 time with an offset, such as 2026-01-31T12:00:00Z",
    "list": "a non-empty list of strings", "attribute": "a string, a finite number, true or false",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Filter:
    root: Node

    def mask(self, columns: Columns, now: datetime, context_item: Item | None = None) -> BoolArray:
        """bool [N]: the items that match. Raises Invalid("filter_context_item_missing").

        Cost: 0.2 to 1.5 ms a clause for 100,000 items; see tests/bench/bench_filters.py.
        """
        return self.root.mask(columns, now, context_item)


def cost_of(spec: object) -> int:
    """What a filter asks for before it is parsed: its clauses, and one more for every 100 values of a list."""
    cost, waiting = 0, [spec]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Mapping):
            cost += "field" in node
            waiting.extend(node.values())
        elif isinstance(node, list | tuple):
            cost += len(node) // 100
            waiting.extend(part for part in node if isinstance(part, Mapping))
    return cost


def parse_filter(spec: object, loc: Loc = ("filter",)) -> Filter:
    """Raises Invalid with the place of the fault and one of the codes filter_bad_clause, filter_unknown_field,
    filter_unknown_operator, filter_wrong_operator, filter_bad_value, filter_too_deep, filter_too_large.
    """
    return Filter(_Parser().node(spec, loc, depth=1))


@dataclass(slots=True)
class _Parser:
    num_clauses: int = field(default=0)

    def node(self, spec: object, loc: Loc, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise Invalid(f"the filter is nested deeper than {MAX_DEPTH} levels", code="filter_too_deep", loc=loc)
        if not isinstance(spec, Mapping):
            raise Invalid(
                f'a filter is an object such as {{"field": "price", "lt": 50}}, not {_shown(spec)}',
                code="filter_bad_clause",
                loc=loc,
            )
        for word in COMBINATORS:
            if word in spec:
                if len(spec) > 1:
                    raise Invalid(f"{word!r} stands alone in its object", code="filter_bad_clause", loc=loc)
                return self.combination(word, spec[word], (*loc, word), depth)
        return self.clause(spec, loc)

    def combination(self, word: Combinator, parts: object, loc: Loc, depth: int) -> Node:
        if word == "not":
            return Not(self.node(parts, loc, depth + 1))
        if not isinstance(parts, list | tuple) or not parts:
            raise Invalid(f"{word!r} takes a non-empty list of filters", code="filter_bad_clause", loc=loc)
        nodes = [self.node(part, (*loc, i), depth + 1) for i, part in enumerate(parts)]
        return All(nodes) if word == "and" else Any(nodes)

    def clause(self, spec: Mapping[str, object], loc: Loc) -> Node:
        self.num_clauses += 1
        if self.num_clauses > MAX_CLAUSES:
            raise Invalid(f"a filter has at most {MAX_CLAUSES} clauses", code="filter_too_large", loc=loc)
        name, kind = _field_of(spec, loc)
        operator = _operator_of(spec, loc)
        at = (*loc, operator)
        if kind not in _KINDS_OF_OPERATOR[operator]:
            raise Invalid(
                f"{operator!r} does not go with {name!r}; possible are {_operators_for(kind)}",
                code="filter_wrong_operator",
                loc=at,
            )
        return Clause(name, operator, _value(name, kind, operator, spec[operator], at))


def _field_of(spec: Mapping[str, object], loc: Loc) -> tuple[str, Kind]:
    name = spec.get("field")
    kind = kind_of(name) if isinstance(name, str) else None
    if not isinstance(name, str) or kind is None:
        given = f"no field {_shown(name)}" if "field" in spec else "'field' is missing"
        raise Invalid(
            f"{given}; fields are {', '.join(FIELD_KINDS)} and attributes.<name>",
            code="filter_unknown_field",
            loc=(*loc, "field") if "field" in spec else loc,
        )
    return name, kind


def _operator_of(spec: Mapping[str, object], loc: Loc) -> Operator:
    words = [word for word in spec if word != "field"]
    for word in words:
        if word not in OPERATORS:
            raise Invalid(
                f"no operator {_shown(word)}; operators are {', '.join(OPERATORS)}",
                code="filter_unknown_operator",
                loc=(*loc, word),
            )
    if len(words) != 1:
        raise Invalid(f"a clause has one operator, this one {len(words)}", code="filter_bad_clause", loc=loc)
    return cast(Operator, words[0])


def _operators_for(kind: Kind) -> str:
    return ", ".join(operator for operator, kinds in _KINDS_OF_OPERATOR.items() if kind in kinds)


def _value(name: str, kind: Kind, operator: Operator, value: object, loc: Loc) -> object:
    if operator == "exists":
        if not isinstance(value, bool):
            raise Invalid(f"'exists' takes true or false, not {_shown(value)}", code="filter_bad_value", loc=loc)
        return value
    if isinstance(value, Mapping):
        return _context_value(name, kind, operator, value, loc)
    if operator in ("in", "not_in"):
        return _several(name, kind, value, loc)
    if operator == "contains" and kind == "list":
        return _typed(name, "string", value, loc)
    if kind == "attribute" and operator in ("lt", "lte", "gt", "gte") and isinstance(value, bool):
        raise Invalid("true and false have no order", code="filter_bad_value", loc=loc)
    return _typed(name, kind, value, loc)


def _several(name: str, kind: Kind, values: object, loc: Loc) -> list[object]:
    if not isinstance(values, list | tuple):
        raise Invalid(f"a list of values is needed, not {_shown(values)}", code="filter_bad_value", loc=loc)
    if len(values) > MAX_VALUES:
        raise Invalid(f"at most {MAX_VALUES} values, not {len(values)}", code="filter_too_large", loc=loc)
    return [_typed(name, kind, value, (*loc, i)) for i, value in enumerate(values)]


def _typed(name: str, kind: Kind, value: object, loc: Loc) -> object:
    if kind == "list":
        if isinstance(value, list | tuple) and 0 < len(value) <= MAX_VALUES:
            return [_typed(name, "string", element, (*loc, i)) for i, element in enumerate(value)]
    elif kind == "time":
        if isinstance(value, str) and (at := time_of(value)) is not None:
            return at
    elif (scalar := scalar_of(value)) is not None and kind in (scalar[0], "attribute") and _is_text(value):
        return value
    raise Invalid(f"{name!r} compares with {_EXPECTED[kind]}, not {_shown(value)}", code="filter_bad_value", loc=loc)


def _context_value(name: str, kind: Kind, operator: Operator, value: Mapping[str, object], loc: Loc) -> ContextItem:
    other = value.get("context_item")
    other_kind = kind_of(other) if isinstance(other, str) and len(value) == 1 else None
    if not isinstance(other, str) or other_kind is None:
        raise Invalid(
            f'a value is {_EXPECTED[kind]}, or {{"context_item": "<field>"}}, not {_shown(value)}',
            code="filter_bad_value",
            loc=loc,
        )
    wanted: tuple[Kind, ...] = (kind, "attribute")
    if operator in ("in", "not_in"):
        wanted = (kind, "attribute", "list") if kind == "string" else wanted
    elif operator == "contains":
        wanted = ("string", "attribute")
    if kind != "attribute" and other_kind not in wanted:
        raise Invalid(
            f"{name!r} cannot be compared with the viewed item's {other!r} by {operator!r}",
            code="filter_bad_value",
            loc=(*loc, "context_item"),
        )
    return ContextItem(other, loc)


def _is_text(value: object) -> bool:
    """False for a string that is no Unicode text (a lone surrogate), which no item can hold."""
    return not isinstance(value, str) or value.isascii() or value.encode("utf-8", "replace").decode() == value


def _shown(value: object) -> str:
    return reprlib.repr(value)
