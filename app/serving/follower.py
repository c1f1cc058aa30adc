"""Keeps this process up to date: one look at the revision counters twice a second, and what moved is read again.

Survives the stores being away: what is held goes on being served, every step is tried again. Each follower step fails alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from time import monotonic
from typing import Protocol

import structlog

from app.catalogue.ports import CatalogueStore
from app.encoding.encoder import Encoder
from app.errors import BadArtifact, DuosceneError, Unavailable
from app.patience import within
from app.pauses import Pause, beside, no_pause, resting
from app.release.version import ArtifactStore, VersionStore
from app.retrieval.snapshot import Snapshot
from app.scenarios.registry import ScenarioRegistry
from app.scenarios.scenario import Revisions, RevisionStore, Scenario
from app.serving.live import KnownVectors, Live, ServingState

INTERVAL_SECONDS = 0.5
RETRY_SECONDS = 5.0  # before a model that could not be loaded, or a text that could not be encoded, is tried again
MODEL_SECONDS = 600.0  # to fetch and load a version; an artifact store that hangs is asked again afterwards
FIRST_MODEL_SECONDS = (
    60.0  # a start waits no longer for an artifact store that hangs; slates are fallbacks until it answers
)
CATALOGUE_RETRY_SECONDS = 1.0  # how long requests leave a database alone that did not answer one of them
logger = structlog.get_logger(__name__)


class Refreshed(Protocol):
    """What is read again when its counter moved."""

    async def refresh(self) -> None: ...


class Follower:
    """start() once, close() once, both on the event loop that serves. forget_texts: called when somebody was erased, by whichever
    process."""

    def __init__(
        self,
        live: Live,
        *,
        encoder: Encoder,
        revisions: RevisionStore,
        catalogue: CatalogueStore,
        versions: VersionStore,
        artifacts: ArtifactStore,
        scenarios: ScenarioRegistry,
        experiments: Refreshed,
        keys: Refreshed,
        forget_texts: Callable[[], None] = lambda: None,
        interval_seconds: float = INTERVAL_SECONDS,
    ) -> None:
        self._live = live
        self._encoder = encoder
        self._revisions = revisions
        self._catalogue = catalogue
        self._versions = versions
        self._artifacts = artifacts
        self._scenarios = scenarios
        self._experiments = experiments
        self._keys = keys
        self._forget_texts = forget_texts
        self._interval_seconds = interval_seconds
        self._followed = Revisions(-1, -1, -1, -1, -1)
        self._not_before: dict[str, float] = {}
        self._has_met_model = False  # there is none, it was loaded once, or its artifact cannot be read
        self._never_reached = -1  # an announced catalogue revision that the database does not have
        self._catching_up = asyncio.Lock()
        self._texts_wait = asyncio.Event()
        self._swap: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def is_ready(self) -> bool:
        """The catalogue has been read once, and the live model was loaded or could not be: slates can be served."""
        return self._followed.catalogue >= 0 and self._has_met_model

    @property
    def is_complete(self) -> bool:
        """Ready, and the live model is loaded if there is one."""
        return self.is_ready and self._followed.models >= 0

    async def start(self) -> None:
        """Returns after the first round, whether or not the stores answered; `is_ready` tells."""
        await self.follow_once()
        self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._embed())]

    async def close(self) -> None:
        running = [task for task in (*self._tasks, self._swap) if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def follow_once(self) -> None:
        """One round. The first model is waited for; a later one is loaded while everything else goes on."""
        try:
            seen = await self._revisions.read()
        except Exception as error:  # noqa: BLE001  the loop must outlive whatever the database says
            logger.warning("revisions could not be read", error=str(error))
            return
        await self._step("keys", seen.keys, self._keys.refresh)
        await self._step("erasures", seen.erasures, self._follow_erasures)
        await self._step("scenarios", seen.scenarios, self._follow_scenarios)
        if self._swap is None or self._swap.done():
            self._swap = asyncio.create_task(self._step("models", seen.models, self._follow_models))
        if not self._has_met_model:  # starting, perhaps while the database was away: the first slate is a model's
            await asyncio.wait([self._swap], timeout=FIRST_MODEL_SECONDS)
            self._has_met_model |= not self._swap.done()
        await self._step("catalogue", seen.catalogue, lambda: self.catch_up(seen.catalogue))

    async def catch_up(self, revision: int) -> None:
        """Read the catalogue's changes until `revision` holds here. Raises Unavailable; concurrent callers share one read."""
        if revision <= self._live.current.catalogue.revision or revision == self._never_reached:
            return
        async with self._catching_up:
            while self._live.current.catalogue.revision < revision != self._never_reached:
                if monotonic() < self._not_before.get("changes", 0.0):
                    raise Unavailable("the catalogue cannot be read at the moment", code="store_unavailable")
                state = self._live.state
                await self._advance(state)
                if state is self._live.state and state.current.catalogue.revision < revision:
                    self._never_reached = revision
                    logger.warning("announced catalogue revision is not in the database", revision=revision)

    async def load(self, version: str) -> ServingState:
        """A version as it was published, in a thread; `bring_up_to_date` makes it today's. Raises BadArtifact, Unavailable."""
        known, scenarios = dict(self._live.state.vectors), self._scenarios.all()
        # A process that starts keeps nobody waiting but for this.
        if not self._has_met_model:
            return await asyncio.to_thread(self._load, version, scenarios, known, lambda: no_pause)
        return await beside(self._load, version, scenarios, known, resting)

    async def bring_up_to_date(self, state: ServingState) -> None:
        """A version beside the live one: the catalogue's changes, the scenarios, vectors that are known, and a batch of the others.

        Not to be called twice at once for one state. Raises Unavailable.
        """
        await state.use_scenarios(self._scenarios.all())
        if state.current.catalogue.revision < self._live.current.catalogue.revision:
            await self._advance(state)
        if state.pending:
            await state.embed(only_known=True)
            await state.embed()

    async def _overtake(self, state: ServingState) -> None:
        """Until it is no older than what is live, which follows the catalogue meanwhile; a database that was restored has no more."""
        before = -1
        while before < state.current.catalogue.revision < self._live.current.catalogue.revision:
            before = state.current.catalogue.revision
            await self._advance(state)

    async def _advance(self, state: ServingState) -> None:
        try:
            has_more = True
            while has_more:
                changes = await self._catalogue.items_changed_since(state.current.catalogue.revision)
                await state.apply(changes)
                has_more = changes.has_more
        except Unavailable:
            self._not_before["changes"] = monotonic() + CATALOGUE_RETRY_SECONDS
            raise
        finally:
            if state.pending:
                self._texts_wait.set()

    async def _follow_erasures(self) -> None:
        self._forget_texts()

    async def _follow_scenarios(self) -> None:
        await self._scenarios.refresh()
        await self._experiments.refresh()
        await self._live.state.use_scenarios(self._scenarios.all())

    async def _follow_models(self) -> None:
        version = await self._versions.live()
        if version is None or version.version == self._live.current.model_version:
            self._has_met_model = True
            return
        begin = monotonic()
        try:
            state = await within(self.load(version.version), MODEL_SECONDS)
        except Exception:
            self._has_met_model = True
            raise
        await self._advance(state)
        await state.embed(only_known=True)
        await state.use_scenarios(self._scenarios.all())
        await self._overtake(state)
        self._live.state = state  # nothing may be awaited in between: what the old state reads then would be lost
        self._has_met_model = True
        self._texts_wait.set()
        logger.info("model live", version=version.version, seconds=round(monotonic() - begin, 2))

    def _load(
        self, version: str, scenarios: Sequence[Scenario], known: KnownVectors, make_pause: Callable[[], Pause]
    ) -> ServingState:
        pause = make_pause()
        snapshot = Snapshot.load(self._artifacts.fetch(version), pause)
        if snapshot.version != version:
            raise BadArtifact(f"model {version}: its files are those of version {snapshot.version}")
        return ServingState.with_model(self._encoder, snapshot, scenarios, known, pause)

    async def _step(self, name: str, revision: int, work: Callable[[], Awaitable[None]]) -> None:
        if getattr(self._followed, name) == revision or monotonic() < self._not_before.get(name, 0.0):
            return
        try:
            await work()
            self._followed = replace(self._followed, **{name: revision})
        except Exception as error:
            is_broken_model = name == "models" and self._has_met_model
            self._not_before[name] = monotonic() + (RETRY_SECONDS if is_broken_model else 0.0)
            known = isinstance(error, DuosceneError)
            logger.warning("could not follow", what=name, error=str(error), exc_info=not known)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._interval_seconds)
            await self.follow_once()

    async def _embed(self) -> None:
        while True:
            await self._texts_wait.wait()
            self._texts_wait.clear()
            try:
                while await self._live.state.embed():
                    pass
            except Exception:
                logger.exception("texts could not be encoded")
                await asyncio.sleep(RETRY_SECONDS)
                self._texts_wait.set()
