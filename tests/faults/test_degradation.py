"""What a caller sees while a dependency is slow, down, wrong or empty: one test for each row of the README's table.

One service for all; each test breaks something, looks, and mends it. Times are printed (`-s`), not asserted, except against a
bound that no healthy machine comes near.
"""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from tests.faults.site import Site, open_site

HANGING_SECONDS = 5.0  # a caller that was held by a hung server waits far longer
RETURN_SECONDS = 60.0


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with open_site(Path(tempfile.mkdtemp(prefix="duoscene-faults-"))) as site:
        site.start_api()
        site.wait_ready()
        with site.client() as admin:
            admin.post("/v1/items", json=[{"item_id": f"sku-{i}", "title": f"Thing {i}"} for i in range(30)])
            until(lambda: len(slate(admin, "probe", at_least=0)["items"]) == 10)
        yield site


@pytest.fixture
def shop(site: Site) -> Iterator[httpx.Client]:
    with site.client() as client:
        until(lambda: slate(client, "probe")["degraded"] == ["model"])
        yield client


@pytest.fixture
def user() -> str:
    return uuid.uuid4().hex


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + RETURN_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def slate(client: httpx.Client, user_id: str, n: int = 10, at_least: int = 10) -> dict[str, Any]:
    begin = time.perf_counter()
    response = client.post("/v1/recommendations", json={"scenario": "home", "user_id": user_id, "n": n})
    seconds = time.perf_counter() - begin
    assert response.status_code == 200, response.text
    assert seconds < HANGING_SECONDS
    found: dict[str, Any] = response.json()
    assert len(found["items"]) >= at_least
    return found | {"seconds": seconds}


def send(client: httpx.Client, user_id: str, item_id: str = "sku-1", **more: Any) -> httpx.Response:
    event = {"type": "purchase", "item_id": item_id, "user_id": user_id, "event_id": uuid.uuid4().hex} | more
    return client.post("/v1/feedback", json=event)


def shown(client: httpx.Client, user_id: str) -> set[str]:
    """All that this shopper may be shown."""
    return {item["item_id"] for item in slate(client, user_id, 40, 27)["items"]}


def time_of_slates(client: httpx.Client, user_id: str) -> str:
    """The first is the one that finds out."""
    times = [slate(client, user_id)["seconds"] * 1e3 for _ in range(5)]
    return ", ".join(f"{ms:.0f}" for ms in times) + " ms"


@pytest.mark.parametrize("how", ["hangs", "down"])
def test_postgres_away(site: Site, shop: httpx.Client, user: str, how: str) -> None:
    """Warm shoppers are served from Redis, others without their past; events are taken into Redis; the rest is 503."""
    assert send(shop, user, "sku-1").status_code == 202
    assert "sku-1" not in shown(shop, user)
    site.freeze_postgres() if how == "hangs" else site.kill_postgres()
    try:
        print(f"\nPostgres {how}: a slate of a warm shopper takes", time_of_slates(shop, user))
        assert slate(shop, user)["degraded"] == ["model"]
        print(f"Postgres {how}: a slate of a shopper unknown to Redis takes", time_of_slates(shop, uuid.uuid4().hex))
        assert "user_state" in slate(shop, uuid.uuid4().hex)["degraded"]
        sent = send(shop, user, "sku-2")
        assert (sent.status_code, sent.json()["accepted"]) == (202, 1)
        newcomer = uuid.uuid4().hex
        assert send(shop, newcomer, "sku-3").status_code == 202
        assert shown(shop, user) & {"sku-1", "sku-2"} == set()
        assert "sku-3" not in shown(shop, newcomer)
        if how == "down":
            asked = shop.get("/v1/items/sku-1")
            assert (asked.status_code, "retry-after" in asked.headers) == (503, True)
        assert shop.get("/healthz").status_code == 200
    finally:
        site.thaw_postgres() if how == "hangs" else site.start_postgres()
    until(lambda: shop.get("/readyz").json()["postgres"] == "up")
    until(lambda: waiting(site) == 0)
    assert "user_state" not in slate(shop, newcomer)["degraded"]
    assert "sku-3" not in shown(shop, newcomer)


def waiting(site: Site) -> int:
    with redis.Redis.from_url(site.redis_url) as client:
        return int(client.xlen("duoscene:bridge"))


@pytest.mark.parametrize("how", ["hangs", "down"])
def test_redis_away(site: Site, shop: httpx.Client, user: str, how: str) -> None:
    """Slates read the shopper's past from Postgres and say so; events are taken."""
    assert send(shop, user, "sku-1").status_code == 202
    slate(shop, user)
    site.freeze_redis() if how == "hangs" else site.kill_redis()
    try:
        print(f"\nRedis {how}: a slate takes", time_of_slates(shop, user))
        assert "user_state" in slate(shop, user)["degraded"]
        assert send(shop, user, "sku-2").status_code == 202
        assert shown(shop, user) & {"sku-1", "sku-2"} == set()
        assert shop.get("/readyz").json()["redis"] == "down"
    finally:
        site.thaw_redis() if how == "hangs" else site.start_redis()
    until(lambda: slate(shop, user)["degraded"] == ["model"])
    assert shown(shop, user) & {"sku-1", "sku-2"} == set()


def test_redis_empty(site: Site, shop: httpx.Client, user: str) -> None:
    """Slates are right and marked until the states are rebuilt."""
    assert send(shop, user, "sku-1").status_code == 202
    with redis.Redis.from_url(site.redis_url) as client:
        client.flushall()
    assert "sku-1" not in shown(shop, user)
    until(lambda: slate(shop, user)["degraded"] == ["model"])
    assert "sku-1" not in shown(shop, user)


def test_both_away(site: Site, shop: httpx.Client, user: str) -> None:
    """Slates for strangers; events are refused with a time to come again, and nothing of them is kept."""
    site.kill_postgres()
    site.kill_redis()
    try:
        assert "user_state" in slate(shop, user)["degraded"]
        lost = send(shop, user, event_id=f"lost-{user}")
        assert (lost.status_code, int(lost.headers["retry-after"]) >= 1) == (503, True)
    finally:
        site.start_postgres()
        site.start_redis()
    until(lambda: slate(shop, user)["degraded"] == ["model"])
    again = send(shop, user, event_id=f"lost-{user}")
    while again.status_code == 503:
        again = send(shop, user, event_id=f"lost-{user}")
    assert (again.status_code, again.json()["accepted"]) == (202, 1)
