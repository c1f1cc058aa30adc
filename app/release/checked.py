"""A version whose files are not whole never goes live: looked at before the pointer moves, not when processes fail to load it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from app.errors import BadArtifact, Conflict, Unavailable
from app.patience import within
from app.release.version import ModelVersion, VersionStore

CHECK_SECONDS = 60.0  # reads every file of the version once
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
        """Raises Conflict("artifact_broken") and Unavailable besides what the store raises; `force` is about the gate, not about this."""
        if await self._versions.get(version) is not None:
            try:
                await within(asyncio.to_thread(self._check, version), CHECK_SECONDS)
            except TimeoutError as error:
                raise Unavailable(
                    "the artifact store does not answer; the live model goes on", code="store_unavailable"
                ) from error
            except BadArtifact as error:
                raise Conflict(f"{error.detail}; train a new version", code="artifact_broken") from error
        return await self._versions.activate(version, force=force)
