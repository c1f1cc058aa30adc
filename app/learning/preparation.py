"""What a retraining needs, read from the stores as of one moment, before its training leaves for a thread."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from app.catalogue.ports import ShopDataStore
from app.encoding.encoder import Encoder
from app.errors import BadArtifact
from app.learning.jobs import Job
from app.learning.run import RetrainDeps, retrain
from app.learning.training import TrainingConfig
from app.learning.worker import Training
from app.release.version import ArtifactStore, VersionStore
from app.scenarios.defaults import READY_MADE
from app.scenarios.scenario import RevisionStore, ScenarioStore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preparation:
    """event_weights: further event types of the settings and their weights."""

    shop_data: ShopDataStore
    scenarios: ScenarioStore
    revisions: RevisionStore
    versions: VersionStore
    artifacts: ArtifactStore
    encoder: Encoder
    training: TrainingConfig
    event_weights: Mapping[str, float]

    async def __call__(self, job: Job) -> Training:
        # The revision first: what is written while the shop is read is then replayed to the new model, not lost.
        revision = (await self.revisions.read()).catalogue
        stored = {scenario.name: scenario for scenario in await self.scenarios.all()}
        deps = RetrainDeps(
            shop=await self.shop_data.read(for_training=True),
            scenarios={**READY_MADE, **stored},
            catalogue_revision=revision,
            encoder=self.encoder,
            publish=self.artifacts.publish,
            live=await self._live_artifact(),
            training=self.training,
            event_weights=self.event_weights,
        )
        return partial(retrain, job, deps)

    async def _live_artifact(self) -> Path | None:
        live = await self.versions.live()
        if live is None:
            return None
        try:
            return await asyncio.to_thread(self.artifacts.fetch, live.version)
        except BadArtifact as error:  # a broken model must not stop its successor
            log.warning("the live model cannot be read, so the new one is judged without it: %s", error.detail)
            return None
