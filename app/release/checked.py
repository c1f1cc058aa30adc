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
        self.earlier = versions.earlier

    async def activate(self, version: str, *, force: bool = False) -> ModelVersion:
        """Raises Conflict("artifact_broken") and Unavailable besides what the store raises; `force` is about the gate, not about this."""
        if await self._versions.get(version) is not None:
            await self._check_files(version)
        return await self._versions.activate(version, force=force)

    async def rollback(self) -> ModelVersion:
        """Raises as `activate` does."""
        earlier = await self._versions.earlier()
        if earlier is not None:
            await self._check_files(earlier.version)
        return await self._versions.rollback()

    async def _check_files(self, version: str) -> None:
        try:
            await within(asyncio.to_thread(self._check, version), CHECK_SECONDS)
        except TimeoutError as error:
            raise Unavailable(
                "the artifact store does not answer; the live model goes on", code="store_unavailable"
            ) from error
        except BadArtifact as error:
            raise Conflict(
                f"{error.detail}; activate another version or train a new one", code="artifact_broken"
            ) from error
