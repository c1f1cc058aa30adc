"""The little shop of the serving tests with two model versions, and what each of them must answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
import torch

from app.catalogue.records import frame_of
from app.catalogue.shop_data import USER_SCHEMA, ShopData
from app.encoding.encoder import Encoder
from app.learning.dataset import interactions
from app.learning.fit import extend
from app.learning.fit_config import Choices, FitConfig
from app.learning.inputs import encode_inputs
from app.learning.training import Trainer, TrainingConfig, tower_config
from app.model.towers import Towers
from app.release.version import ModelVersion
from app.retrieval.snapshot import Snapshot
from app.scenarios.defaults import READY_MADE
from app.stores.artifacts import LocalArtifacts
from app.stores.postgres.engine import create_engine
from app.stores.postgres.scenarios import PostgresScenarios
from app.stores.postgres.shop_data import PostgresShopData
from app.stores.postgres.versions import PostgresVersions
from app.types import no_progress, utc_now
from tests.integration.serving.conftest import BY_TASTE, make_events, make_items

VERSIONS = ("v1", "v2")


@dataclass(frozen=True)
class TwoVersions:
    snapshots: tuple[Snapshot, Snapshot]
    artifacts: Path
    database_url: str

    async def release(self) -> None:
        """Both are registered, v1 is live."""
        engine = create_engine(self.database_url)
        try:
            versions = PostgresVersions(engine)
            await PostgresShopData(engine).load(make_shop(), no_progress)
            await PostgresScenarios(engine).put(BY_TASTE)
            for name, snapshot in zip(VERSIONS, self.snapshots, strict=True):
                manifest = replace(snapshot.manifest, version=name)
                replace(snapshot, manifest=manifest).save(LocalArtifacts(self.artifacts).place(name))
                await versions.add(ModelVersion(name, utc_now(), "full", verdict="passed"))
            await versions.activate(VERSIONS[0])
        finally:
            await engine.dispose()


def make_shop() -> ShopData:
    items = make_items()
    texts = ["I like fishing on rivers and at sea." if n % 2 else "I love cooking at home." for n in range(80)]
    rows = [dict.fromkeys(USER_SCHEMA) | {"user_id": f"u{n}", "text": text, "tags": []} for n, text in enumerate(texts)]
    return ShopData(frame_of(items), pl.DataFrame(rows, schema=USER_SCHEMA), make_events(items))


def train_two(encoder: Encoder) -> tuple[Snapshot, Snapshot]:
    """Two seeds, so that their slates differ: about 10 s."""
    shop = make_shop()
    data = interactions(shop)
    inputs = encode_inputs(shop, data, encoder, no_progress, READY_MADE)
    return fit(data, inputs, encoder, 3), fit(data, inputs, encoder, 4)


def fit(data, inputs, encoder: Encoder, seed: int) -> Snapshot:  # type: ignore[no-untyped-def]
    torch.manual_seed(seed)
    towers = Towers(tower_config(data, inputs))
    training = TrainingConfig(epochs=4, learning_rate=6e-3, seed=seed)
    Trainer(data, inputs, towers, training).run(no_progress)
    return extend(
        towers, data, inputs, FitConfig(training=training, encoder_key=encoder.key, catalogue_revision=1),
        Choices(epochs=1), no_progress,
    )  # fmt: skip


def prepare(database_url: str, folder: Path) -> None:
    asyncio.run(TwoVersions(train_two(Encoder()), folder / "models", database_url).release())
