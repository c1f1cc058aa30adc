"""API keys and scopes: who may call what."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol, get_args

Scope = Literal["recommend", "feedback", "catalog", "admin"]  # admin implies all
SCOPES: tuple[Scope, ...] = get_args(Scope)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """sha256: hex digest of the key. The key itself is shown once and never kept."""

    key_id: str
    name: str
    scopes: frozenset[Scope]
    sha256: str
    created_at: datetime
    revoked_at: datetime | None = None


class KeyStore(Protocol):
    """Moves the `keys` revision on every write."""

    async def add(self, key: ApiKey) -> None: ...

    async def all(self) -> list[ApiKey]:
        """Oldest first, revoked ones included."""

    async def revoke(self, key_id: str) -> bool: ...
