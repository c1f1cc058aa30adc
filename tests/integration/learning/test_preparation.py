"""What a retraining reads: all there is, or, after an interrupted run, what that one had read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.catalogue.item import Item
from app.catalogue.shop_data import ShopData
from app.encoding.encoder import Encoder
from app.feedback.event import Event
from app.learning.checkpoint import Checkpoints
from app.learning.dataset import interactions
from app.learning.jobs import Job
from app.learning.preparation import Preparation
from app.learning.run import RetrainDeps
from app.learning.training_config import TrainingConfig
from app.stores.artifacts import open_artifacts
from app.stores.postgres.catalogue import PostgresCatalogue
from app.stores.postgres.events import PostgresEvents
from app.stores.postgres.revisions import PostgresRevisions
from app.stores.postgres.scenarios import PostgresScenarios
from app.stores.postgres.shop_data import PostgresShopData
from app.stores.postgres.versions import PostgresVersions
from app.types import no_progress
from tests.unit.learning.builders import shop

NOW = datetime(2026, 2, 1, tzinfo=UTC)


class Shop:
    """A small shop in the database, and a preparation that reads it."""

    def __init__(self, engine: AsyncEngine, folder: Path) -> None:
        self.engine, self.checkpoints = engine, Checkpoints(folder / "checkpoints")
        self.prepare = Preparation(
            shop_data=PostgresShopData(engine), scenarios=PostgresScenarios(engine), revisions=PostgresRevisions(engine),
            versions=PostgresVersions(engine), artifacts=open_artifacts(str(folder / "models"), folder / "cache"),
            encoder=Encoder(), training=TrainingConfig(), checkpoints=self.checkpoints, event_weights={},
        )  # fmt: skip
        self.data: ShopData = shop(
            [(f"u{n % 5}", f"i{n % 7}", float(n)) for n in range(40)], scenarios=["home", "search"] * 20
        )

    async def read(self, mode: str = "full") -> RetrainDeps:
        job = Job(job_id="01J", mode=mode, state="running", created_at=NOW)  # type: ignore[arg-type]
        training = await self.prepare(job)
        deps = training.args[1]  # type: ignore[attr-defined]
        assert isinstance(deps, RetrainDeps)
        return deps

    async def interrupt(self) -> RetrainDeps:
        """A run that leaves a checkpoint behind, and an event that comes after it."""
        deps = await self.read()
        self.checkpoints.save("some", {})
        await PostgresEvents(self.engine).append([Event("late", "click", "i1", NOW, user_id="u1")])
        return deps


@pytest.fixture
async def small_shop(engine: AsyncEngine, tmp_path: Path) -> Shop:
    made = Shop(engine, tmp_path)
    await PostgresShopData(engine).load(made.data, no_progress)
    return made


async def test_what_is_read_from_the_database_is_what_was_imported(small_shop: Shop) -> None:
    read, made = (await small_shop.read()).material.data, interactions(small_shop.data)
    assert (list(read.user_ids), list(read.item_ids), list(read.scenarios)) == (
        list(made.user_ids), list(made.item_ids), list(made.scenarios),
    )  # fmt: skip
    for name in ("user_E", "item_E", "kind_E", "scenario_E", "at_E", "weight_E"):
        assert getattr(read, name).tolist() == getattr(made, name).tolist()


async def test_after_an_interruption_the_same_is_read_again(small_shop: Shop) -> None:
    first = await small_shop.interrupt()
    again = await small_shop.read()
    assert again.note.startswith("takes up the run of 20")
    assert again.material.data.at_E.tolist() == first.material.data.at_E.tolist()
    other = await small_shop.read("incremental")
    assert (other.note, len(other.material.data)) == ("", len(first.material.data) + 1)


@pytest.mark.parametrize("change", ["retraction", "new words", "age"])
async def test_what_changed_since_is_read_anew(small_shop: Shop, change: str) -> None:
    first = await small_shop.interrupt()
    if change == "retraction":
        await PostgresEvents(small_shop.engine).retract("3")
    elif change == "new words":
        await PostgresCatalogue(small_shop.engine).upsert_items([Item("i1", title="another title")])
    else:
        path = small_shop.checkpoints.folder / "run.json"
        long_ago = (datetime.now(UTC) - timedelta(days=2)).isoformat()[:10]
        path.write_text(path.read_text().replace(datetime.now(UTC).isoformat()[:10], long_ago))
    fresh = await small_shop.read()
    assert fresh.note == ""
    assert len(fresh.material.data) == len(first.material.data) + (0 if change == "retraction" else 1)


async def test_availability_alone_is_no_change(small_shop: Shop) -> None:
    await small_shop.interrupt()
    title = small_shop.data.items.filter(item_id="i1")["title"][0]
    await PostgresCatalogue(small_shop.engine).upsert_items([Item("i1", title=title, available=False)])
    assert (await small_shop.read()).note != ""
