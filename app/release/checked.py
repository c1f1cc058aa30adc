"""A version whose files are not whole never goes live: looked at before the pointer moves, not when processes fail to load it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from app.errors import BadArtifact, Conflict
from app.release.version import ModelVersion, VersionStore

Check = Callable[[str], None]


class CheckedVersions:
    """A `VersionStore`. check: blocking; raises BadArtifact for a version that is missing, altered, of another format or name."""

    def __init__(self, versions: VersionStore, check: Check) -> None:
        self._versions = versions
        self._check = check
        self.add = versions.add
        self.get = versions.get
        self.list_versions = versions.list_versions
        self.live = versions.live
        self.rollback = versions.rollback

    async def activate(self, version: str, *, force: bool = False) -> ModelVersion:
        """Raises Conflict("artifact_broken") besides what the store raises; `force` is about the gate, not about this."""
        if await self._versions.get(version) is not None:
            try:
                await asyncio.to_thread(self._check, version)
            except BadArtifact as error:
                raise Conflict(f"{error.detail}; train a new version", code="artifact_broken") from error
        return await self._versions.activate(version, force=force)
