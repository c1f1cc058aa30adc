"""API keys and scopes: who may call what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol, get_args

Scope = Literal["recommend", "feedback", "catalog", "admin"]  # admin implies all
SCOPES: tuple[Scope, ...] = get_args(Scope)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """sha256: hex digest of the key, with the pepper of the settings if there is one. The key itself is shown once and never kept.

    rate_limit_per_minute: None: the one of the settings. last_used_at: to about a minute.
    """

    key_id: str
    name: str
    scopes: frozenset[Scope]
    sha256: str
    created_at: datetime
    revoked_at: datetime | None = None
    rate_limit_per_minute: int | None = None
    last_used_at: datetime | None = None


class KeyStore(Protocol):
    """`add` and `revoke` move the `keys` revision."""

    async def add(self, key: ApiKey) -> None: ...

    async def all(self) -> list[ApiKey]:
        """Oldest first, revoked ones included."""

    async def revoke(self, key_id: str) -> bool: ...

    async def note_uses(self, used_at: Mapping[str, datetime]) -> None:
        """Key id -> when it was used last; a later time that is there already stays."""
