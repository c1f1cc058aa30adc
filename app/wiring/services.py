"""All that one API process needs."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

from app.access.key_ring import KeyRing
from app.access.key_use import KeyUse
from app.access.rate_limit import RateLimiter
from app.api.services import Health, Services
from app.experiments.registry import ExperimentRegistry
from app.experiments.report import Reporter
from app.feedback.event import EVENT_WEIGHTS
from app.feedback.impressions import ImpressionWriter
from app.feedback.intake import FeedbackIntake
from app.feedback.merging import Merger
from app.privacy.erasure import Eraser
from app.privacy.exporting import Exporter
from app.privacy.pseudonymous import (
    PseudonymousEraser,
    PseudonymousExporter,
    PseudonymousIntake,
    PseudonymousLiveState,
    PseudonymousMerger,
    PseudonymousRecommender,
    PseudonymousTaste,
)
from app.privacy.taste import TasteReader
from app.release.checked import CheckedVersions
from app.retrieval.sources import SOURCE_NAMES
from app.scenarios.registry import ScenarioRegistry
from app.serving.follower import Follower
from app.serving.live import Live
from app.serving.paging.lists import Lists
from app.serving.paging.seal import Seal
from app.serving.preview import Previews
from app.serving.profiles import ProfileTexts
from app.serving.recommender import Recommender
from app.settings import Settings
from app.stores.redis.erasing import RedisTraces
from app.stores.redis.lists import RedisLists
from app.stores.redis.rate_limits import RedisTokenBank
from app.wiring.encoding import artifacts_of, check_of, open_encoder
from app.wiring.live_state import make_bridge, open_live_state
from app.wiring.pseudonyms import outer_catalogue, pseudonyms_of
from app.wiring.stores import open_stores
from app.wiring.urls import redis_url_of

BEAT_SECONDS = 1.0


@contextlib.asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """All that one API process needs; opened in this order, closed in the opposite one, so that what was accepted is written."""
    async with AsyncExitStack() as stack:
        stores = await stack.enter_async_context(open_stores(settings))
        await stores.pulse.beats(BEAT_SECONDS)  # now, because connecting takes longer than a beat may
        live_state = await stack.enter_async_context(open_live_state(settings, stores))
        encoder = open_encoder(settings, stores)
        scenarios = ScenarioRegistry(stores.scenarios, SOURCE_NAMES)
        experiments = ExperimentRegistry(stores.experiments, scenarios)
        admin_key = settings.admin_key.get_secret_value() if settings.admin_key else None
        keys = KeyRing(stores.keys, admin_key, settings.pepper())
        key_use = KeyUse(stores.keys)
        bank = RedisTokenBank(redis_url_of(settings))
        stack.push_async_callback(bank.close)
        artifacts = artifacts_of(settings)
        live = Live(encoder)
        texts = ProfileTexts(encoder)
        follower = Follower(
            live,
            encoder=encoder,
            revisions=stores.revisions,
            catalogue=stores.catalogue,
            versions=stores.versions,
            artifacts=artifacts,
            scenarios=scenarios,
            experiments=experiments,
            keys=keys,
            forget_texts=texts.forget,
        )
        bridge = make_bridge(settings)
        if bridge is not None:
            stack.push_async_callback(bridge.close)
        intake = FeedbackIntake(
            stores.events, live_state, settings.max_pending_events, bridge, stores.pulse.hold_patiently
        )
        impressions = ImpressionWriter(stores.impressions, shown=live_state.shown)
        seal = Seal(stores.secrets)
        stack.push_async_callback(texts.loaded)  # waited for behind all that must be written
        for part in (impressions, intake, seal, follower, key_use):
            await part.start()
            stack.push_async_callback(part.close)
        await texts.start()  # behind the model: slates need that first, and most of them no text
        pages = RedisLists(redis_url_of(settings))
        stack.push_async_callback(pages.close)
        recommender = Recommender(
            live,
            follower,
            scenarios,
            experiments,
            live_state,
            texts,
            impressions.write,
            lists=Lists(seal, pages, stores.impressions, hold=stores.pulse.hold),
            previews=Previews(follower, stores.versions),
            hold=stores.pulse.hold,
        )
        stack.callback(recommender.close)
        traces = RedisTraces(redis_url_of(settings), live_state)
        stack.push_async_callback(traces.close)
        patiently = stores.pulse.hold_patiently
        taste = TasteReader(live_state, stores.catalogue, {**EVENT_WEIGHTS, **settings.event_types})
        exporter = Exporter(stores.holdings, traces, live_state, taste, stores.versions, intake.settle, hold=patiently)
        eraser = Eraser(stores.erasure, traces, stores.versions, intake.settle, texts.forget, patiently)

        async def health() -> Health:
            return Health(
                ready=follower.is_ready,
                complete=follower.is_complete and texts.has_loaded,
                model_version=live.current.model_version,
                postgres=await stores.pulse.beats(BEAT_SECONDS),
                redis=await live_state.is_reachable(),
            )

        merger = Merger(stores.merges, live_state, intake.settle)
        services = Services(
            settings=settings,
            catalogue=stores.catalogue,
            intake=intake,
            merger=merger,
            eraser=eraser,
            exporter=exporter,
            taste=taste,
            live_state=live_state,
            recommender=recommender,
            scenarios=scenarios,
            experiments=experiments,
            jobs=stores.jobs,
            versions=CheckedVersions(stores.versions, check_of(artifacts)),
            reporter=Reporter(stores.report, hold=patiently),
            keys=keys,
            key_use=key_use,
            rate_limiter=RateLimiter(bank, settings.rate_limit_per_minute),
            health=health,
        )
        ids = pseudonyms_of(settings)
        yield (
            services
            if ids is None
            else replace(
                services,
                catalogue=outer_catalogue(settings, stores.catalogue),
                intake=PseudonymousIntake(intake, ids),
                merger=PseudonymousMerger(merger, ids),
                live_state=PseudonymousLiveState(live_state, ids),
                recommender=PseudonymousRecommender(recommender, ids),
                eraser=PseudonymousEraser(eraser, ids),
                exporter=PseudonymousExporter(exporter, ids),
                taste=PseudonymousTaste(taste, ids),
            )
        )
