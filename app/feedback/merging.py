"""A guest becomes a customer: what a session or a guest's id did is from then on the account's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol

from app.catalogue.item import Consent, User
from app.errors import Invalid
from app.feedback.state import LiveState


@dataclass(frozen=True, slots=True)
class Guest:
    """One of the two."""

    user_id: str | None = None
    session_id: str | None = None


@dataclass(frozen=True, slots=True)
class Merged:
    """What moved. profile: the account's description changed."""

    events: int = 0
    impressions: int = 0
    profile: bool = False


class MergeStore(Protocol):
    async def merge(self, guest: Guest, user_id: str) -> Merged:
        """One transaction; a repetition moves what came since. Raises Unavailable.

        Of a session what belongs to nobody yet, of a user everything, with the description by `joined`; the user is then gone.
        """


class Merger:
    """settle: returns when no accepted event is on its way to the store, where it would stay the guest's; raises Unavailable."""

    def __init__(self, store: MergeStore, live: LiveState, settle: Callable[[], Awaitable[None]]) -> None:
        self._store = store
        self._live = live
        self._settle = settle

    async def merge(self, guest: Guest, user_id: str) -> Merged:
        """The next slate of the account knows it all. Raises Invalid("merge_into_itself"), Unavailable."""
        check_two(guest, user_id)
        await self._settle()
        merged = await self._store.merge(guest, user_id)
        await self._live.forget(user_id=guest.user_id, session_id=guest.session_id)
        await self._live.forget(user_id=user_id)
        return merged


def check_two(guest: Guest, user_id: str) -> None:
    """Raises Invalid("merge_into_itself")."""
    if guest.user_id == user_id:
        raise Invalid(
            f"{user_id[:100]!r} cannot be merged into itself", code="merge_into_itself", loc=("from_user_id",)
        )


def joined(account: User, guest: User) -> User:
    """The account's word counts, the guest's fills what it left open; what either did not agree to is not agreed to."""
    gaps = {
        name: getattr(guest, name)
        for name in ("text", "age", "gender", "occupation", "country", "locale")
        if getattr(account, name) in (None, "")
    }
    consent = Consent(
        account.consent.personalize and guest.consent.personalize, account.consent.train and guest.consent.train
    )
    tags = tuple(dict.fromkeys((*account.tags, *guest.tags)))
    return replace(account, **gaps, tags=tags, attributes={**guest.attributes, **account.attributes}, consent=consent)
