"""A request that was served is rebuilt from the log as training reads it: the ranker's features are the same numbers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
import redis
from sqlalchemy.ext.asyncio import AsyncEngine

from app.encoding.encoder import Encoder
from app.features.ranking import FEATURES
from app.feedback.event import Event
from app.learning.dataset import EventLog, Interactions
from app.learning.evaluation.rank import Ranker
from app.learning.inputs import Inputs, encode_inputs
from app.learning.ranker_cases import Outcome, _outcomes
from app.learning.run import Material
from app.learning.splits import temporal_at
from app.retrieval.ranker import Unordered
from app.retrieval.snapshot import Snapshot
from app.scenarios.defaults import READY_MADE
from app.serving.slate import SlateRequest
from app.stores.postgres.events import PostgresEvents
from app.stores.postgres.impressions import PostgresImpressions
from app.stores.postgres.revisions import PostgresRevisions
from app.stores.postgres.shop_data import PostgresShopData
from app.stores.postgres.subjects import PostgresSubjects
from app.stores.redis.live_state import RedisLiveState
from app.types import no_progress
from tests.integration.serving.conftest import NOW, Shop
from tests.integration.serving.test_ranker import ranked_snapshot


@pytest.fixture
async def live_state(engine: AsyncEngine, redis_url: str) -> AsyncIterator[RedisLiveState]:
    state = RedisLiveState(
        redis_url,
        events=PostgresEvents(engine),
        subjects=PostgresSubjects(engine),
        revisions=PostgresRevisions(engine),
    )
    await state.start()
    yield state
    await state.close()


async def log_of(engine: AsyncEngine, encoder: Encoder) -> tuple[Interactions, Inputs]:
    """As `Preparation` reads it."""
    async with PostgresShopData(engine).open_log() as reader:
        log = EventLog(reader.items["item_id"])
        async for slates in reader.slates:
            log.add_slates(slates)
        async for piece in reader.pieces:
            log.add(piece)
    data = log.interactions()
    inputs = encode_inputs(Material(reader.items, reader.users, data), data, encoder, no_progress, READY_MADE)
    return data, inputs


def slates_of(data: Interactions) -> list[Outcome]:
    return sorted(_outcomes(data, data.shown, float(data.at_E.max())), key=lambda outcome: outcome.ask.now)


async def test_what_was_served_is_what_training_reads(
    open_shop: Shop, trained: Snapshot, engine: AsyncEngine, live_state: RedisLiveState, redis_url: str, encoder: Encoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    snapshot = ranked_snapshot(trained, click={"log fused": 1.0})
    await open_shop.release(snapshot, "v2")
    served: list[tuple[np.ndarray, np.ndarray]] = []
    features = Snapshot.features

    def spy(self, unordered, space, table):  # type: ignore[no-untyped-def]
        out_FX = features(self, unordered, space, table)
        (one,) = unordered
        served.append((one.found.rows_C, out_FX))
        return out_FX

    monkeypatch.setattr(Snapshot, "features", spy)
    # A busy machine may answer late; then a slate goes without what it did not get, which is no matter of this test.
    for patience in ("serving.trends.WAIT_SECONDS", "stores.redis.live_state.TRENDS_SECONDS"):
        monkeypatch.setattr(f"app.{patience}", 30.0)
    events, impressions = PostgresEvents(engine), PostgresImpressions(engine)

    async def did(kind: str, item_id: str, hours: float, **more: object) -> None:
        event = Event(f"{kind}-{item_id}-{hours}", kind, item_id, NOW - timedelta(hours=hours), user_id="u3", **more)  # type: ignore[arg-type]
        await events.append([event])
        await live_state.apply([event])

    await did("click", "fish-rod-1", 30.0, scenario="home")
    await did("purchase", "fish-net-2", 29.5, scenario="home", value=20.0)
    await did("dislike", "fish-hook-0", 29.0)
    request = SlateRequest("home", user_id="u3", context={"device": "mobile", "country": "NZ"})
    for number in range(3):
        async with open_shop.process(
            live_state=live_state
        ) as process:  # each knows the trends of its moment, not of seconds ago
            slate = await process.recommender.recommend(replace(request, n=6 + number))
            shown = process.impressions[-1]
        await impressions.write([shown])
        await live_state.shown([shown])
        clicked = Event(
            f"after-{number}", "click", slate.items[1].item_id, shown.shown_at + timedelta(milliseconds=1), user_id="u3",
            scenario="home", recommendation_id=shown.recommendation_id, position=2,
        )  # fmt: skip
        await events.append([clicked])
        await live_state.apply([clicked])
        with redis.Redis.from_url(
            redis_url
        ) as client:  # trends are summed every ten seconds; the test does not wait for that
            client.delete("none", *client.keys("duoscene:tt*"))
    assert len(served) == 3

    data, inputs = await log_of(engine, encoder)
    monkeypatch.setattr(Snapshot, "features", features)
    ranker = Ranker(snapshot, data, inputs)
    outcomes = slates_of(data)
    assert [len(outcome.items) for outcome in outcomes] == [6, 7, 8]
    assert all(outcome.labels_IH[:, 0].sum() == 1 for outcome in outcomes)
    asks = [outcome.ask for outcome in outcomes]
    known = temporal_at(data, float(data.at_E.max()))
    replayed = ranker.candidates(data, asks, known, "allow", READY_MADE)
    names = np.asarray(FEATURES)
    for (rows_C, served_FC), candidates in zip(served, replayed, strict=True):
        again_FC = ranker.snapshot.features([Unordered(candidates, "home")], ranker.space, ranker.table)
        assert set(rows_C.tolist()) == set(candidates.rows_C.tolist())
        place = {row: place for place, row in enumerate(candidates.rows_C.tolist())}
        again_FC = again_FC[:, [place[row] for row in rows_C.tolist()]]
        differs_F = ~np.isclose(served_FC, again_FC, rtol=1e-6, atol=1e-6, equal_nan=True).all(1)
        assert not differs_F.any(), names[differs_F].tolist()
    assert served[2][1][names.tolist().index("shown")].any(), "what the first slates showed is known"
    assert served[2][1][names.tolist().index("mobile")].all()
