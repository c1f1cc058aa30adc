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
from app.learning.checkpoint import Checkpoints, RunRecord, key_of
from app.learning.dataset import EventLog
from app.learning.jobs import Job
from app.learning.run import Material, RetrainDeps, retrain
from app.learning.training_config import TrainingConfig
from app.learning.worker import Training
from app.release.version import ArtifactStore, VersionStore
from app.scenarios.defaults import READY_MADE
from app.scenarios.scenario import RevisionStore, ScenarioStore
from app.types import utc_now

LEARNED_OF_ITEMS = ("item_id", "title", "description", "category", "brand", "price", "currency", "tags", "attributes")
LEARNED_OF_USERS = ("user_id", "text", "age", "gender", "occupation", "country", "tags", "attributes")
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
    checkpoints: Checkpoints
    event_weights: Mapping[str, float]

    async def __call__(self, job: Job) -> Training:
        # The revision first: what is written while the shop is read is then replayed to the new model, not lost.
        revision = (await self.revisions.read()).catalogue
        stored = {scenario.name: scenario for scenario in await self.scenarios.all()}
        material, note = await self._material(job)
        deps = RetrainDeps(
            material=material,
            scenarios={**READY_MADE, **stored},
            catalogue_revision=revision,
            encoder=self.encoder,
            publish=self.artifacts.publish,
            live=await self._live_artifact(),
            training=self.training,
            checkpoints=self.checkpoints,
            note=note,
        )
        return partial(retrain, job, deps)

    async def _material(self, job: Job) -> tuple[Material, str]:
        """What is there now; or, after a run that was interrupted, what that one had read, so that its checkpoints fit."""
        interrupted = self.checkpoints.interrupted(job.mode)
        if interrupted is not None:
            material, until = await self._read(interrupted.until)
            if await asyncio.to_thread(digest, material) == interrupted.data:
                return material, f"takes up the run of {interrupted.started_at}, with the events known then"
        material, until = await self._read(None)
        data = await asyncio.to_thread(digest, material)
        self.checkpoints.begin(RunRecord(job.mode, utc_now().isoformat(), until, data))
        return material, ""

    async def _read(self, until: int | None) -> tuple[Material, int]:
        async with self.shop_data.open_log(until) as reader:
            log = EventLog(reader.items["item_id"], self.event_weights)
            async for slates in reader.slates:
                await asyncio.to_thread(log.add_slates, slates)
            async for piece in reader.pieces:
                await asyncio.to_thread(log.add, piece)
        return Material(reader.items, reader.users, await asyncio.to_thread(log.interactions)), reader.until

    async def _live_artifact(self) -> Path | None:
        live = await self.versions.live()
        if live is None:
            return None
        try:
            return await asyncio.to_thread(self.artifacts.fetch, live.version)
        except BadArtifact as error:  # a broken model must not stop its successor
            log.warning("the live model cannot be read, so the new one is judged without it: %s", error.detail)
            return None


def digest(material: Material) -> str:
    """Of all that a training run reads from the stores. Availability, pictures and the like are not learned from."""
    data = material.data
    tables = [material.items.select(LEARNED_OF_ITEMS), material.users.select(LEARNED_OF_USERS)]
    rows = [table.hash_rows().to_numpy() for table in tables]
    columns = (data.user_E, data.item_E, data.kind_E, data.scenario_E, data.at_E, data.weight_E, data.query_E)
    return key_of(*columns, data.queries, *rows)
