"""The background worker."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from app.learning.checkpoint import Checkpoints
from app.learning.preparation import Preparation
from app.learning.run import STAGES
from app.learning.training_config import TrainingConfig
from app.learning.worker import Worker, WorkerDeps
from app.release.checked import CheckedVersions
from app.settings import Settings
from app.wiring.encoding import artifacts_of, check_of, open_encoder
from app.wiring.stores import open_stores


@contextlib.asynccontextmanager
async def open_worker(settings: Settings) -> AsyncIterator[Worker]:
    async with open_stores(settings) as stores:
        artifacts = artifacts_of(settings)
        preparation = Preparation(
            shop_data=stores.shop_data,
            scenarios=stores.scenarios,
            revisions=stores.revisions,
            versions=stores.versions,
            artifacts=artifacts,
            encoder=open_encoder(settings, stores),
            training=TrainingConfig(epochs=settings.retrain_epochs, seed=settings.seed, dp_epsilon=settings.dp_epsilon),
            checkpoints=Checkpoints(settings.data_dir.resolve() / "checkpoints"),
            event_weights=settings.event_types,
        )
        yield Worker(
            WorkerDeps(stores.jobs, CheckedVersions(stores.versions, check_of(artifacts)), preparation, STAGES)
        )
