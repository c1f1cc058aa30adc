"""JSON merge patch (RFC 7396) on the frozen dataclasses of the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from app.api.schemas.fields import Attributes
from app.api.schemas.items import ItemPatch
from app.api.schemas.users import UserPatch
from app.catalogue.item import Consent, Item, User
from app.errors import Invalid

ATTRIBUTES: TypeAdapter[dict[str, Any]] = TypeAdapter(Attributes)
Described = TypeVar("Described", Item, User)


def merge(target: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(target)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping):
            below = merged.get(name)
            merged[name] = merge(below if isinstance(below, Mapping) else {}, value)
        else:
            merged[name] = value
    return merged


def patch_item(item: Item, patch: ItemPatch) -> Item:
    return _patched(item, patch)


def patch_user(user: User, patch: UserPatch) -> User:
    changed = _patched(user, patch, but_not="consent")
    if "consent" not in patch.model_fields_set:
        return changed
    given = patch.consent.model_dump(exclude_unset=True) if patch.consent else dict.fromkeys(asdict(user.consent))
    return replace(changed, consent=Consent(**merge(asdict(user.consent), given)))


def _patched(old: Described, patch: BaseModel, but_not: str = "") -> Described:
    """Fields set to null go back to the default of the dataclass."""
    empty = _empty_values(type(old))
    changes: dict[str, Any] = {}
    for name in patch.model_fields_set - {but_not}:
        value = getattr(patch, name)
        if value is None:
            value = empty[name]
        elif name == "attributes":
            value = _checked(merge(old.attributes, value))
        elif isinstance(value, list):
            value = tuple(value)
        changes[name] = value
    return replace(old, **changes)


def _empty_values(kind: type[Any]) -> dict[str, Any]:
    return {f.name: f.default_factory() if callable(f.default_factory) else f.default for f in fields(kind)}


def _checked(attributes: dict[str, Any]) -> dict[str, Any]:
    try:
        return ATTRIBUTES.validate_python(attributes)
    except ValidationError as error:
        finding = error.errors()[0]
        raise Invalid(f"after the merge, {finding['msg']}", code=finding["type"], loc=("attributes",)) from error
