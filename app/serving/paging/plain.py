"""Frozen dataclasses as JSON and back, for what leaves this process between two slates of a list: requests and slates.

Fields at their default are left out, so that a cursor stays short. Mappings hold plain JSON and pass as they are.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

import orjson

T = TypeVar("T")
AS_IT_IS = frozenset((str, int, float, bool, type(None)))


def dump(value: object) -> bytes:
    return orjson.dumps(_plain(value))


def load(kind: type[T], data: bytes) -> T:
    """What `dump` wrote of a `kind`. Raises ValueError, TypeError or KeyError for anything else."""
    plain = orjson.loads(data)
    if not isinstance(plain, dict):
        raise ValueError("not an object")
    loaded: T = _restored(kind, plain)
    return loaded


def _plain(value: object) -> Any:
    if type(value) in AS_IT_IS:
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            name: part if type(part) in AS_IT_IS else _plain(part)
            for name, default in _fields(type(value))
            if (part := getattr(value, name)) is not default and part != default
        }
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        return value if AS_IT_IS.issuperset(map(type, value)) else [_plain(part) for part in value]
    if isinstance(value, Mapping):
        return dict(value)
    return value


@cache
def _fields(kind: type) -> Sequence[tuple[str, object]]:
    """Each field with its default, `...` where it has none."""
    found: list[tuple[str, object]] = []
    for field in dataclasses.fields(kind):
        default: object = ...
        if field.default is not dataclasses.MISSING:
            default = field.default
        elif field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        found.append((field.name, default))
    return found


@cache
def _hints(kind: type) -> Mapping[str, Any]:
    return typing.get_type_hints(kind, localns={"Json": Any})  # it names itself, and passes as it is


def _restored(kind: Any, value: Any) -> Any:
    """value as the annotation `kind` says: dataclasses, tuple[X, ...], frozenset[X], X | None, datetime, or plain."""
    if value is None:
        return None
    if dataclasses.is_dataclass(kind):
        hints = _hints(kind)  # type: ignore[arg-type]
        return kind(**{name: _restored(hints[name], part) for name, part in value.items()})  # type: ignore[operator]
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return _restored(_only_dataclass(parts), value)
    if origin in (tuple, frozenset, Sequence):
        restored = (_restored(parts[0], part) for part in value)
        return frozenset(restored) if origin is frozenset else tuple(restored)
    return datetime.fromisoformat(value) if kind is datetime else value


def _only_dataclass(parts: Sequence[Any]) -> Any:
    """Of a union, the one member that needs restoring; the others are plain."""
    needy = [part for part in parts if dataclasses.is_dataclass(part) or typing.get_origin(part) or part is datetime]
    return needy[0] if len(needy) == 1 else object
