"""A small shop with two kinds of shoppers, a model really trained on it, and a process that serves it.

Anglers buy fishing tackle, cooks kitchen ware; an item's text says which it is. Enough for the towers to learn the difference.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.key_ring import KeyRing
from app.catalogue.item import Item
from app.catalogue.records import frame_of
from app.catalogue.sample_shop import SampleShop, generate_sample_shop
from app.catalogue.shop_data import EVENT_SCHEMA, USER_SCHEMA, ShopData
from app.encoding.encoder import Encoder
from app.experiments.registry import ExperimentRegistry
from app.feedback.event import Event, Impression
from app.feedback.state import Exposure, LiveState, UserState
from app.learning.dataset import interactions
from app.learning.fit import extend
from app.learning.fit_config import Choices, FitConfig
from app.learning.inputs import encode_inputs
from app.learning.training import Trainer, tower_config
from app.learning.training_config import TrainingConfig
from app.model.towers import Towers
from app.release.version import ModelVersion
from app.retrieval.snapshot import Snapshot
from app.retrieval.sources import SOURCE_NAMES
from app.scenarios.defaults import READY_MADE
from app.scenarios.registry import ScenarioRegistry
from app.scenarios.scenario import Scenario
from app.serving.follower import Follower
from app.serving.live import Live, LiveSnapshot, ServingState
from app.serving.paging.lists import Lists
from app.serving.paging.seal import Seal
from app.serving.preview import Previews
from app.serving.profiles import ProfileTexts
from app.serving.recommender import Recommender
from app.stores.artifacts import LocalArtifacts
from app.stores.postgres.catalogue import PostgresCatalogue
from app.stores.postgres.experiments import PostgresExperiments
from app.stores.postgres.impressions import PostgresImpressions
from app.stores.postgres.keys import PostgresKeys
from app.stores.postgres.revisions import PostgresRevisions
from app.stores.postgres.scenarios import PostgresScenarios
from app.stores.postgres.secrets import PostgresSecrets
from app.stores.postgres.shop_data import PostgresShopData
from app.stores.postgres.versions import PostgresVersions
from app.stores.redis.lists import RedisLists
from app.types import no_progress

NOW = datetime.now(UTC).replace(microsecond=0)
TACKLE = ("rod", "reel", "lure", "net", "waders", "hook", "float", "line")
KITCHEN = ("pan", "pot", "knife", "bowl", "whisk", "ladle", "grater", "peeler")


def make_items() -> list[Item]:
    return [
        Item(
            f"{kind}-{noun}-{n}",
            f"{style} {'fishing' if kind == 'fish' else 'kitchen'} {noun}",
            description=f"A {style} {noun} for {'anglers on river and sea' if kind == 'fish' else 'cooks at home'}.",
            category=("Fishing",) if kind == "fish" else ("Kitchen",),
            brand=f"{kind}-brand-{n % 2}",
            price=10.0 + 5 * n,
            tags=(noun,),
            created_at=NOW - timedelta(days=60 + n),
        )
        for kind, nouns in (("fish", TACKLE), ("cook", KITCHEN))
        for noun in nouns
        for n, style in enumerate(("light", "sturdy", "classic", "carbon"))
    ]


def make_events(items: list[Item]) -> pl.DataFrame:
    draw = random.Random(7)
    by_kind = {kind: [item.item_id for item in items if item.item_id.startswith(kind)] for kind in ("fish", "cook")}
    events = [
        Event(
            f"e-{user}-{place}",
            draw.choice(("click", "click", "cart_add", "purchase")),
            draw.choice(by_kind["fish" if user % 2 else "cook"]),
            NOW - timedelta(days=40 - place, minutes=user),
            user_id=f"u{user}",
            scenario=draw.choice(("home", "similar")),
        )
        for user in range(80)
        for place in range(12)
    ]
    rows = [{name: getattr(event, name, None) for name in EVENT_SCHEMA} | {"context": None} for event in events]
    return pl.DataFrame(rows, schema=EVENT_SCHEMA).sort("occurred_at", maintain_order=True)


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    return Encoder()


@pytest.fixture(scope="session")
def shop() -> ShopData:
    items = make_items()
    events = make_events(items)
    texts = ["I like fishing on rivers and at sea." if n % 2 else "I love cooking at home." for n in range(80)]
    rows = [dict.fromkeys(USER_SCHEMA) | {"user_id": f"u{n}", "text": text, "tags": []} for n, text in enumerate(texts)]
    return ShopData(frame_of(items), pl.DataFrame(rows, schema=USER_SCHEMA), events)


@pytest.fixture(scope="session")
def trained(shop: ShopData, encoder: Encoder) -> Snapshot:
    """The model of `shop`, as of catalogue revision 1."""
    data = interactions(shop)
    inputs = encode_inputs(shop, data, encoder, no_progress, READY_MADE)
    torch.manual_seed(3)
    towers = Towers(tower_config(data, inputs))
    training = TrainingConfig(epochs=15, learning_rate=6e-3, seed=3)
    Trainer(data, inputs, towers, training).run(no_progress)
    config = FitConfig(training=training, encoder_key=encoder.key, catalogue_revision=1)
    return extend(towers, data, inputs, config, Choices(epochs=2), no_progress)


@pytest.fixture(scope="session")
def sample_shop() -> SampleShop:
    """A small one."""
    return generate_sample_shop(5, num_items=240, num_users=240)


@pytest.fixture(scope="session")
def sample_live(sample_shop: SampleShop, encoder: Encoder) -> LiveSnapshot:
    """Towers and sources really trained on `sample_shop`."""
    data = interactions(sample_shop.data)
    inputs = encode_inputs(sample_shop.data, data, encoder, no_progress, READY_MADE)
    torch.manual_seed(3)
    config = FitConfig(training=TrainingConfig(epochs=2, seed=3), encoder_key=encoder.key)
    snapshot = extend(Towers(tower_config(data, inputs)), data, inputs, config, Choices(4), no_progress)
    return ServingState.with_model(encoder, snapshot, list(READY_MADE.values()), {}).current


@dataclass
class Shoppers:
    """Live state as the test says it is. trends: item ids, best first."""

    states: dict[str | None, UserState] = field(default_factory=dict)
    trends: list[str] = field(default_factory=list)
    shown: dict[str, Exposure] = field(default_factory=dict)
    catalogue_revision: int = 0

    async def read(self, user_id: str | None, session_id: str | None) -> UserState:
        state = self.states.get(user_id or session_id, UserState())
        return replace(state, catalogue_revision=self.catalogue_revision)

    async def trending(self, scenario: str | None, limit: int) -> list[tuple[str, float]]:
        return [(item_id, 1.0 / rank) for rank, item_id in enumerate(self.trends[:limit], start=1)]

    async def exposures(self, item_ids: Sequence[str]) -> dict[str, Exposure]:
        return {item_id: self.shown[item_id] for item_id in item_ids if item_id in self.shown}

    async def announce_catalogue(self, revision: int) -> None:
        self.catalogue_revision = max(self.catalogue_revision, revision)


@dataclass
class Process:
    """One serving process over the test's database."""

    follower: Follower
    live: Live
    scenarios: ScenarioRegistry
    experiments: ExperimentRegistry
    recommender: Recommender
    shoppers: Shoppers
    impressions: list[Impression]


@dataclass
class Shop:
    """The database side: what admins and other processes do."""

    engine: AsyncEngine
    catalogue: PostgresCatalogue
    versions: PostgresVersions
    scenarios: PostgresScenarios
    artifacts: LocalArtifacts
    encoder: Encoder
    redis_url: str

    async def release(self, snapshot: Snapshot, version: str) -> None:
        await self.publish(snapshot, version)
        await self.versions.activate(version)

    async def publish(self, snapshot: Snapshot, version: str) -> None:
        """Without making it live."""
        manifest = replace(snapshot.manifest, version=version)
        replace(snapshot, manifest=manifest).save(self.artifacts.place(version))
        await self.versions.add(ModelVersion(version, NOW, "full", verdict="passed"))

    @asynccontextmanager
    async def process(
        self, *, start: bool = True, live_state: LiveState | None = None, **parts: Any
    ) -> AsyncIterator[Process]:
        live, shoppers, impressions = Live(self.encoder), Shoppers(), list[Impression]()
        registry = ScenarioRegistry(self.scenarios, SOURCE_NAMES)
        experiments = ExperimentRegistry(PostgresExperiments(self.engine), registry)
        given: dict[str, Any] = {
            "encoder": self.encoder, "revisions": PostgresRevisions(self.engine), "catalogue": self.catalogue,
            "versions": self.versions, "artifacts": self.artifacts, "scenarios": registry, "experiments": experiments,
            "keys": KeyRing(PostgresKeys(self.engine)), "interval_seconds": 0.05,
        }  # fmt: skip
        follower = Follower(live, **(given | parts))
        seal, pages = Seal(PostgresSecrets(self.engine)), RedisLists(self.redis_url)
        await seal.start()
        recommender = Recommender(
            live,
            follower,
            registry,
            experiments,
            live_state or shoppers,
            ProfileTexts(self.encoder),
            impressions.append,  # type: ignore[arg-type]
            lists=Lists(seal, pages, PostgresImpressions(self.engine)),
            previews=Previews(follower, self.versions),
        )
        if start:
            await follower.start()
        yield Process(follower, live, registry, experiments, recommender, shoppers, impressions)
        await follower.close()
        recommender.close()
        await seal.close()
        await pages.close()


@pytest.fixture
async def empty_shop(engine: AsyncEngine, encoder: Encoder, tmp_path: Path, redis_url: str) -> Shop:
    return Shop(
        engine,
        PostgresCatalogue(engine),
        PostgresVersions(engine),
        PostgresScenarios(engine),
        LocalArtifacts(tmp_path),
        encoder,
        redis_url,
    )


@pytest.fixture
async def open_shop(empty_shop: Shop, shop: ShopData, trained: Snapshot) -> Shop:
    """Catalogue imported (revision 1), model live."""
    await PostgresShopData(empty_shop.engine).load(shop, no_progress)
    await empty_shop.release(trained, "v1")
    return empty_shop


BY_TASTE = Scenario("by_taste", "What fits this person.", {"two_tower": 1.0}, n=10)


@pytest.fixture
async def serving(open_shop: Shop) -> AsyncIterator[Process]:
    """The scenario `by_taste` shows what the towers alone say."""
    await open_shop.scenarios.put(BY_TASTE)
    async with open_shop.process() as process:
        yield process
