"""What is kept in Postgres."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.keys import KeyStore
from app.catalogue.ports import ShopDataStore
from app.experiments.experiment import ExperimentStore
from app.feedback.merging import MergeStore
from app.learning.jobs import JobStore
from app.privacy.encryption import TextCipher
from app.release.version import VersionStore
from app.scenarios.scenario import RevisionStore, ScenarioStore
from app.serving.paging.seal import SecretStore
from app.settings import Settings
from app.stores.postgres.catalogue import PostgresCatalogue
from app.stores.postgres.engine import create_engine
from app.stores.postgres.erasing import PostgresErasure
from app.stores.postgres.events import PostgresEvents
from app.stores.postgres.experiments import PostgresExperiments
from app.stores.postgres.exporting import PostgresHoldings
from app.stores.postgres.impressions import PostgresImpressions
from app.stores.postgres.jobs import PostgresJobs
from app.stores.postgres.keys import PostgresKeys
from app.stores.postgres.merging import PostgresMerges
from app.stores.postgres.pulse import Pulse
from app.stores.postgres.report import PostgresReport
from app.stores.postgres.retention import PostgresRetention
from app.stores.postgres.revisions import PostgresRevisions
from app.stores.postgres.scenarios import PostgresScenarios
from app.stores.postgres.secrets import PostgresSecrets
from app.stores.postgres.shop_data import PostgresShopData
from app.stores.postgres.subjects import PostgresSubjects
from app.stores.postgres.text_vectors import PostgresTextVectors
from app.stores.postgres.versions import PostgresVersions
from app.wiring.pseudonyms import outer_shop_data
from app.wiring.urls import database_url_of


@dataclass(frozen=True)
class Stores:
    """Everything kept in Postgres. shop_data takes and gives the storefront's ids, the others what is stored: see `pseudonyms`."""

    engine: AsyncEngine
    cipher: TextCipher
    pulse: Pulse
    catalogue: PostgresCatalogue
    shop_data: ShopDataStore
    events: PostgresEvents
    subjects: PostgresSubjects
    scenarios: ScenarioStore
    experiments: ExperimentStore
    jobs: JobStore
    versions: VersionStore
    keys: KeyStore
    revisions: RevisionStore
    impressions: PostgresImpressions
    merges: MergeStore
    secrets: SecretStore
    text_vectors: PostgresTextVectors
    retention: PostgresRetention
    erasure: PostgresErasure
    holdings: PostgresHoldings
    report: PostgresReport


@contextlib.asynccontextmanager
async def open_stores(settings: Settings) -> AsyncIterator[Stores]:
    """settings: with the urls of running servers, as `use_servers` gives them."""
    cipher = TextCipher(settings.profile_key_list())
    engine = create_engine(database_url_of(settings))
    pulse = Pulse(database_url_of(settings))
    try:
        yield Stores(
            engine=engine,
            cipher=cipher,
            pulse=pulse,
            catalogue=PostgresCatalogue(engine, cipher),
            shop_data=outer_shop_data(settings, PostgresShopData(engine, cipher)),
            events=PostgresEvents(engine),
            subjects=PostgresSubjects(engine, cipher),
            scenarios=PostgresScenarios(engine),
            experiments=PostgresExperiments(engine),
            jobs=PostgresJobs(engine),
            versions=PostgresVersions(engine),
            keys=PostgresKeys(engine),
            revisions=PostgresRevisions(engine),
            impressions=PostgresImpressions(engine),
            merges=PostgresMerges(engine, cipher),
            secrets=PostgresSecrets(engine),
            text_vectors=PostgresTextVectors(engine),
            retention=PostgresRetention(engine),
            erasure=PostgresErasure(engine, cipher),
            holdings=PostgresHoldings(engine, cipher),
            report=PostgresReport(engine),
        )
    finally:
        await pulse.close()
        await engine.dispose()
