"""Model versions, scenarios, keys, text vectors, and the revisions that they move."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.keys import ApiKey
from app.errors import Conflict, NotFound
from app.release.version import ModelVersion, Verdict
from app.scenarios.scenario import Exclusions, Scenario
from app.stores.postgres.keys import PostgresKeys
from app.stores.postgres.revisions import PostgresRevisions
from app.stores.postgres.scenarios import PostgresScenarios
from app.stores.postgres.text_vectors import PostgresTextVectors
from app.stores.postgres.versions import PostgresVersions

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def version(name: str, day: int = 0, verdict: Verdict = "passed") -> ModelVersion:
    return ModelVersion(
        name,
        NOON + timedelta(days=day),
        "full",
        {"events": 3},
        {"duoscene": {"home": {"ndcg@10": 0.5}}},
        verdict,
        "because",
    )


async def add_versions(engine: AsyncEngine, *names: str) -> PostgresVersions:
    store = PostgresVersions(engine)
    for day, name in enumerate(names):
        await store.add(version(name, day))
    return store


async def test_no_version_is_live_before_the_first_activation(engine: AsyncEngine) -> None:
    store = await add_versions(engine, "a")
    assert await store.live() is None
    assert await store.get("a") == version("a")
    assert await store.get("none") is None
    with pytest.raises(Conflict) as caught:
        await store.rollback()
    assert caught.value.code == "no_earlier_version"


async def test_rollback_goes_back_along_the_activations(engine: AsyncEngine) -> None:
    store = await add_versions(engine, "a", "b", "c")
    for name in ("a", "b", "c"):
        live = await store.activate(name)
        assert live.is_live
        assert live.activated_at is not None
    assert (await store.rollback()).version == "b"
    assert (await store.rollback()).version == "a"
    with pytest.raises(Conflict):
        await store.rollback()
    await store.activate("c")
    assert (await store.rollback()).version == "a"
    live = await store.live()
    assert live is not None
    assert live.version == "a"
    assert [found.is_live for found in await store.list_versions(after=None, limit=9)] == [False, False, True]


async def test_activating_the_live_version_changes_nothing(engine: AsyncEngine) -> None:
    store = await add_versions(engine, "a", "b")
    await store.activate("a")
    await store.activate("b")
    before = await PostgresRevisions(engine).read()
    await store.activate("b")
    assert await PostgresRevisions(engine).read() == before
    assert (await store.rollback()).version == "a"
    assert (await PostgresRevisions(engine).read()).models == before.models + 1


async def test_a_rejected_version_needs_force(engine: AsyncEngine) -> None:
    store = PostgresVersions(engine)
    await store.add(version("bad", verdict="rejected"))
    with pytest.raises(Conflict) as caught:
        await store.activate("bad")
    assert caught.value.code == "gate_rejected"
    assert (await store.activate("bad", force=True)).is_live
    with pytest.raises(NotFound) as missing:
        await store.activate("none")
    assert missing.value.code == "model_not_found"


async def test_versions_are_paged_newest_first(engine: AsyncEngine) -> None:
    store = await add_versions(engine, "a", "b", "c")
    assert [found.version for found in await store.list_versions(after=None, limit=2)] == ["c", "b"]
    assert [found.version for found in await store.list_versions(after="b", limit=2)] == ["a"]


async def test_scenarios_come_back_as_they_were_put(engine: AsyncEngine) -> None:
    store = PostgresScenarios(engine)
    full = Scenario(
        "a b",
        "words",
        {"two_tower": "learned", "popular": 0.5},
        {"field": "price", "lt": 5},
        Exclusions(0.0, False),
        7,
        ("new",),
    )
    await store.put(full)
    await store.put(Scenario("home", "first"))
    await store.put(Scenario("home", "second"))
    assert await store.all() == [full, Scenario("home", "second")]
    assert await store.delete("home") is True
    assert await store.delete("home") is False
    assert (await PostgresRevisions(engine).read()).scenarios == 4


async def test_keys(engine: AsyncEngine) -> None:
    store = PostgresKeys(engine)
    key = ApiKey("k1", "shop", frozenset({"recommend", "feedback"}), "ab" * 32, NOON)
    await store.add(key)
    assert await store.all() == [key]
    assert await store.revoke("k1") is True
    assert await store.revoke("k1") is False
    assert await store.revoke("none") is False
    assert (await store.all())[0].revoked_at is not None
    assert (await PostgresRevisions(engine).read()).keys == 2


async def test_text_vectors_are_kept_per_encoder_in_half_precision(engine: AsyncEngine) -> None:
    store = PostgresTextVectors(engine)
    random = np.random.default_rng(0)
    vectors = {bytes([n]) * 32: random.standard_normal(384).astype(np.float32) for n in range(20)}
    await asyncio.gather(store.put_many("a", vectors), store.put_many("a", vectors))
    found = await store.get_many("a", [*vectors, b"none"])
    assert found.keys() == vectors.keys()
    for key, vector in vectors.items():
        assert found[key].dtype == np.float32
        np.testing.assert_allclose(found[key], vector, rtol=1e-3, atol=1e-4)
    assert await store.get_many("b", list(vectors)) == {}
    assert await store.get_many("a", []) == {}
