"""JSON merge patch: the example of RFC 7396 by hand, and null as "back to the default"."""

from datetime import UTC, datetime

import pytest

from app.api.merge_patch import merge, patch_item, patch_user
from app.api.schemas.items import ItemPatch
from app.api.schemas.users import UserPatch
from app.catalogue.item import Consent, Item, User
from app.errors import Invalid

CREATED = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_example_of_rfc_7396() -> None:
    target = {
        "title": "Goodbye!",
        "author": {"givenName": "John", "familyName": "Doe"},
        "tags": ["example", "sample"],
        "content": "This will be unchanged",
    }
    patch = {"title": "Hello!", "phoneNumber": "+01-123-456-7890", "author": {"familyName": None}, "tags": ["example"]}
    assert merge(target, patch) == {
        "title": "Hello!",
        "author": {"givenName": "John"},
        "tags": ["example"],
        "content": "This will be unchanged",
        "phoneNumber": "+01-123-456-7890",
    }


def test_only_given_fields_change_and_null_clears() -> None:
    item = Item("i", "Box", brand="A", price=2.0, tags=("x",), available=False, created_at=CREATED)
    patch = ItemPatch.model_validate({"price": 3, "brand": None, "available": None, "tags": None})
    assert patch_item(item, patch) == Item("i", "Box", price=3.0, created_at=CREATED)


def test_attributes_are_merged_by_name() -> None:
    item = Item("i", attributes={"colour": "red", "size": {"w": 1, "h": 2}, "old": 1})
    patch = ItemPatch.model_validate({"attributes": {"size": {"h": 3}, "old": None, "new": [1]}})
    assert patch_item(item, patch).attributes == {"colour": "red", "size": {"w": 1, "h": 3}, "new": [1]}


def test_merged_attributes_keep_the_limits() -> None:
    item = Item("i", attributes={"a": "x" * 40_000})
    with pytest.raises(Invalid, match="larger than 65536 bytes"):
        patch_item(item, ItemPatch.model_validate({"attributes": {"b": "x" * 40_000}}))


@pytest.mark.parametrize(
    ("patch", "consent"),
    [
        ({"consent": {"train": False}}, Consent(personalize=False, train=False)),
        ({"consent": {"personalize": None}}, Consent(personalize=True, train=True)),
        ({"consent": None}, Consent()),
        ({"text": "x"}, Consent(personalize=False, train=True)),
    ],
)
def test_consent_is_merged(patch: dict[str, object], consent: Consent) -> None:
    user = User("u", consent=Consent(personalize=False, train=True))
    assert patch_user(user, UserPatch.model_validate(patch)).consent == consent
