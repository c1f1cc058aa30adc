"""`consent.train = false`: no training set of any kind holds anything of that user."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.catalogue.item import Consent, User
from app.catalogue.shop_data import ShopData
from app.encoding.encoder import Encoder
from app.feedback.event import Event, Impression
from app.learning.checkpoint import Checkpoints
from app.learning.evaluation.evaluate import EvaluateConfig, kept_interactions
from app.learning.jobs import Job
from app.learning.preparation import Preparation, digest
from app.learning.run import Material, RetrainDeps
from app.learning.training_config import TrainingConfig
from app.stores.artifacts import open_artifacts
from app.stores.postgres.catalogue import PostgresCatalogue
from app.stores.postgres.events import PostgresEvents
from app.stores.postgres.impressions import PostgresImpressions
from app.stores.postgres.revisions import PostgresRevisions
from app.stores.postgres.scenarios import PostgresScenarios
from app.stores.postgres.shop_data import PostgresShopData
from app.stores.postgres.versions import PostgresVersions
from app.types import no_progress, utc_now
from tests.unit.learning.builders import START, shop

REFUSES = "refuses"
EVENT_TYPES = ("impression", "view", "click", "cart_add", "purchase", "like", "dislike", "rating", "share")


class Learner:
    """What a retraining of this database would learn from."""

    def __init__(self, engine: AsyncEngine, folder: Path) -> None:
        self.prepare = Preparation(
            shop_data=PostgresShopData(engine), scenarios=PostgresScenarios(engine), revisions=PostgresRevisions(engine),
            versions=PostgresVersions(engine), artifacts=open_artifacts(str(folder / "models"), folder / "cache"),
            encoder=Encoder(), training=TrainingConfig(), checkpoints=Checkpoints(folder / "checkpoints"), event_weights={},
        )  # fmt: skip

    async def read(self, mode: str = "full") -> Material:
        """`retrain` takes tuning, fusion, calibration, validation and the gate's cases from this and from nothing else."""
        job = Job(job_id="01J", mode=mode, state="running", created_at=START)  # type: ignore[arg-type]
        deps = (await self.prepare(job)).args[1]  # type: ignore[attr-defined]
        assert isinstance(deps, RetrainDeps)
        return deps.material


@pytest.mark.parametrize("mode", ["full", "incremental"])
async def test_a_training_set_is_what_it_would_be_without_the_user(
    engine: AsyncEngine, tmp_path: Path, mode: str
) -> None:
    store, events = PostgresShopData(engine), PostgresEvents(engine)
    await store.load(shop([(f"u{n % 5}", f"i{n % 7}", float(n)) for n in range(40)]), no_progress)
    learner = Learner(engine, tmp_path)
    before = await learner.read(mode)
    await PostgresCatalogue(engine).upsert_users([User(REFUSES, "I mend old radios", consent=Consent(train=False))])
    await events.append(
        [
            Event(f"x-{kind}", kind, f"i{place % 7}", utc_now(), user_id=REFUSES, session_id="s", value=5.0, context={"query": "valves"})
            for place, kind in enumerate(EVENT_TYPES)
        ]
    )  # fmt: skip
    await events.append([Event("guest", "click", "i1", utc_now(), session_id="s")])  # before the login
    await PostgresImpressions(engine).write(
        [Impression("r", "home", "v1", utc_now(), ("i1",), (1.0,), (1.0,), REFUSES)]
    )
    material = await learner.read(mode)
    assert digest(material) == digest(before), "nothing that a run reads has changed"
    assert REFUSES not in material.data.user_ids
    assert "valves" not in material.data.queries

    await PostgresCatalogue(engine).update_user(
        REFUSES, lambda user: dataclasses.replace(user, consent=Consent(train=True))
    )
    agreed = await learner.read(mode)
    assert REFUSES in agreed.data.user_ids
    assert len(agreed.data) == len(before.data) + len(EVENT_TYPES) - 1 + 1, "impressions are no examples"


def test_an_evaluation_of_exported_data_leaves_the_user_out() -> None:
    whole = shop([(f"u{n % 5}", f"i{n % 7}", float(n)) for n in range(40)])
    refusing = whole.users.with_columns(train=pl.col("user_id") != "u3")
    data = kept_interactions(ShopData(whole.items, refusing, whole.events), EvaluateConfig())
    assert set(data.user_ids) == {"u0", "u1", "u2", "u4"}
    assert set(kept_interactions(whole, EvaluateConfig()).user_ids) == {f"u{n}" for n in range(5)}
