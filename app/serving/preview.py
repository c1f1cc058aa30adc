"""Model versions that are not live, for admins who want to see what they would show.

Loaded when first asked for, in a thread beside the live slates; a few are kept, each until nobody asked for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict

import structlog

from app.errors import BadArtifact, Conflict, NotFound, Unavailable
from app.release.version import VersionStore
from app.serving.follower import Follower
from app.serving.live import LiveSnapshot, ServingState

MAX_KEPT = 2  # about as much memory as the live model each; their arrays are mapped from disk
IDLE_SECONDS = 300.0
logger = structlog.get_logger(__name__)


class Previews:
    """Bound to the event loop that serves."""

    def __init__(
        self,
        follower: Follower,
        versions: VersionStore,
        *,
        max_kept: int = MAX_KEPT,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._follower = follower
        self._versions = versions
        self._max_kept = max_kept
        self._idle_seconds = idle_seconds
        self._states: OrderedDict[str, ServingState] = OrderedDict()  # used last: last
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._one_at_a_time = asyncio.Lock()

    @property
    def kept(self) -> list[str]:
        return list(self._states)

    async def get(self, version: str) -> LiveSnapshot:
        """The version with today's catalogue and scenarios. New texts are encoded a batch at each asking.

        Raises NotFound("model_not_found"), Conflict("model_unusable"), Unavailable.
        """
        async with self._one_at_a_time:
            state = self._states.get(version) or await self._load(version)
            self._keep(version, state)
            with contextlib.suppress(Unavailable):  # what is there can be looked at all the same
                await self._follower.bring_up_to_date(state)
            return state.current

    def release(self, version: str) -> None:
        self._states.pop(version, None)
        if (timer := self._timers.pop(version, None)) is not None:
            timer.cancel()

    def close(self) -> None:
        for version in self.kept:
            self.release(version)

    async def _load(self, version: str) -> ServingState:
        if await self._versions.get(version) is None:
            raise NotFound(f"there is no model version {version[:100]!r}", code="model_not_found")
        try:
            return await self._follower.load(version)
        except BadArtifact as error:
            logger.warning("a version cannot be previewed", version=version, error=error.detail)
            raise Conflict(
                f"model version {version} cannot be used by this process: its files are missing or damaged, or it was trained "
                "with another encoder; the log says which",
                code="model_unusable",
            ) from error

    def _keep(self, version: str, state: ServingState) -> None:
        self.release(version)
        self._states[version] = state
        self._timers[version] = asyncio.get_running_loop().call_later(self._idle_seconds, self.release, version)
        while len(self._states) > self._max_kept:
            self.release(next(iter(self._states)))
