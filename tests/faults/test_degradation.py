"""What a caller sees while a dependency is slow, down, wrong or empty: one test for each row of the README's table.

One service for all; each test breaks something, looks, and mends it. Times are printed (`-s`), not asserted, except against a
bound that no healthy machine comes near.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import redis

from tests.conftest import run_sql
from tests.faults.site import Site, open_site

HANGING_SECONDS = 30.0  # far beyond any answer, on a machine however busy
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
    until(lambda: "user_state" not in slate(shop, newcomer)["degraded"])
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


def test_redis_slow(site: Site, shop: httpx.Client, user: str) -> None:
    """It answers nobody for 2 s: slates do not wait, read the past from Postgres and say so; events are taken."""
    assert send(shop, user, "sku-1").status_code == 202
    with redis.Redis.from_url(site.redis_url) as client:
        client.client_pause(2_000)
    print("\nRedis slow: a slate takes", time_of_slates(shop, user))
    assert "user_state" in slate(shop, user)["degraded"]
    assert send(shop, user, "sku-2").status_code == 202
    assert shown(shop, user) & {"sku-1", "sku-2"} == set()
    until(lambda: slate(shop, user)["degraded"] == ["model"])
    assert shown(shop, user) & {"sku-1", "sku-2"} == set()


@pytest.mark.parametrize("how", ["read-only", "out of memory"])
def test_redis_refuses_writes(site: Site, shop: httpx.Client, user: str, how: str) -> None:
    """Reads work and writes are errors: events are taken, and the shopper's next slate knows them, from Postgres."""
    assert send(shop, user, "sku-1").status_code == 202
    assert "sku-1" not in shown(shop, user)
    with redis.Redis.from_url(site.redis_url) as client:
        client.replicaof("127.0.0.1", "1") if how == "read-only" else client.config_set("maxmemory", 1)
        try:
            assert send(shop, user, "sku-2").status_code == 202
            assert shown(shop, user) & {"sku-1", "sku-2"} == set()
            assert "user_state" in slate(shop, user)["degraded"]
        finally:
            client.replicaof("NO", "ONE") if how == "read-only" else client.config_set("maxmemory", 0)
    until(lambda: slate(shop, user)["degraded"] == ["model"])
    assert shown(shop, user) & {"sku-1", "sku-2"} == set()


def test_redis_has_another_password(site: Site, shop: httpx.Client, user: str) -> None:
    """As when Redis is down."""
    assert send(shop, user, "sku-1").status_code == 202
    with redis.Redis.from_url(site.redis_url) as client:
        client.config_set("requirepass", "changed")
        client.execute_command("AUTH", "changed")
        client.client_kill_filter(skipme=True)
        try:
            assert "user_state" in slate(shop, user)["degraded"]
            assert send(shop, user, "sku-2").status_code == 202
            assert shown(shop, user) & {"sku-1", "sku-2"} == set()
            assert shop.get("/readyz").json()["redis"] == "down"
        finally:
            client.config_set("requirepass", "")
    until(lambda: slate(shop, user)["degraded"] == ["model"])


def test_postgres_slow(site: Site, shop: httpx.Client, user: str) -> None:
    """Somebody holds the events for 3 s: who is known is served at once, a stranger's slate waits a second at most, an event
    waits until it is stored."""
    assert send(shop, user, "sku-1").status_code == 202
    assert "sku-1" not in shown(shop, user)
    with locked(site, "events", seconds=3.0):
        print("\nPostgres slow: a slate of a warm shopper takes", time_of_slates(shop, user))
        assert slate(shop, user)["degraded"] == ["model"]
        assert "user_state" in slate(shop, uuid.uuid4().hex)["degraded"]
        begin = time.monotonic()
        sent = send(shop, user, "sku-2")
        assert (sent.status_code, sent.json()["accepted"]) == (202, 1)
        print(f"Postgres slow: an event takes {time.monotonic() - begin:.1f} s")
    assert shown(shop, user) & {"sku-1", "sku-2"} == set()
    assert waiting(site) == 0


@contextlib.contextmanager
def locked(site: Site, table: str, seconds: float) -> Iterator[None]:
    """Nobody reads or writes the table for so long."""
    held = threading.Event()

    async def hold() -> None:
        connection = await asyncpg.connect(site.database_url)
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE {table}")
            held.set()
            await connection.execute(f"SELECT pg_sleep({seconds})")
        await connection.close()

    holder = threading.Thread(target=lambda: asyncio.run(hold()))
    holder.start()
    assert held.wait(10.0)
    yield
    holder.join()


def test_postgres_read_only(site: Site, shop: httpx.Client, user: str) -> None:
    """As after a failover to a standby: events wait in Redis, other writes are 503, all reads work."""
    run_sql(site.database_url, "ALTER SYSTEM SET default_transaction_read_only = on")
    run_sql(site.database_url, "SELECT pg_reload_conf()")
    try:
        until(lambda: shop.put("/v1/items/sku-1", json={"title": "Thing 1"}).status_code == 503)
        assert send(shop, user, "sku-2").status_code == 202
        assert waiting(site) > 0
        assert "sku-2" not in shown(shop, user)
        assert shop.get("/v1/items/sku-1").status_code == 200
        assert int(shop.put("/v1/items/sku-1", json={"title": "Thing 1"}).headers["retry-after"]) >= 1
    finally:
        run_sql(site.database_url, "ALTER SYSTEM RESET default_transaction_read_only")
        run_sql(site.database_url, "SELECT pg_reload_conf()")
    until(lambda: waiting(site) == 0)
    assert "sku-2" not in shown(shop, user)
    assert shop.put("/v1/items/sku-1", json={"title": "Thing 1"}).is_success


def test_postgres_disk_full(site: Site, shop: httpx.Client, user: str) -> None:
    """The events' disk has no block left: they wait in Redis, and arrive when there is room."""
    with small_disk(site.folder / "small", owner=(site.folder / "postgres").stat().st_uid) as disk:
        run_sql(site.database_url, f"CREATE TABLESPACE small LOCATION '{disk}'")
        run_sql(site.database_url, "ALTER TABLE events SET TABLESPACE small")
        filler = disk / "filler"
        try:
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(b"x" * 4096)
            pages = [
                {"type": "view", "user_id": user, "item_id": f"sku-{n % 30}", "context": {"x": "y" * 1_000}}
                for n in range(50)
            ]
            assert shop.post("/v1/feedback", json={"events": pages}).json()["accepted"] == 50
            assert send(shop, user, "sku-2").status_code == 202
            assert waiting(site) > 0
            assert "sku-2" not in shown(shop, user)
        finally:
            filler.unlink(missing_ok=True)
            until(lambda: waiting(site) == 0)
            run_sql(site.database_url, "ALTER TABLE events SET TABLESPACE pg_default")
            run_sql(site.database_url, "DROP TABLESPACE small")
    assert "sku-2" not in shown(shop, user)


@contextlib.contextmanager
def small_disk(place: Path, owner: int) -> Iterator[Path]:
    """A file system of 1 MiB. Skips the test for somebody who may not mount one."""
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    try:
        inside = place / "tablespace"
        inside.mkdir(mode=0o700)
        os.chown(inside, owner, -1)
        yield inside
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_nothing_there_yet(site: Site, shop: httpx.Client) -> None:
    """An empty catalogue (here: under a filter that nothing matches) is an empty slate, and no model is named in `degraded`."""
    nothing = {"scenario": "home", "filter": {"field": "brand", "eq": "none"}}
    answer = shop.post("/v1/recommendations", json=nothing)
    assert (answer.status_code, answer.json()["items"], answer.json()["degraded"]) == (200, [], ["model"])


def test_encoder_missing(trained_site: Site) -> None:
    """Without the encoder no model is loaded: fallback slates that say so; items and events are taken."""
    trained_site.start_api(DUOSCENE_ENCODER=str(trained_site.folder / "no-such-encoder"))
    trained_site.wait_ready()
    with trained_site.client() as client:
        described = {"scenario": "home", "user": {"text": "I like fishing"}, "n": 10}
        for body in (described, {"scenario": "home", "user_id": "u1", "query": "a rod, not a reel"}):
            answer = client.post("/v1/recommendations", json=body)
            assert answer.status_code == 200, answer.text
            assert answer.json()["degraded"] == ["model"]
            assert answer.json()["items"]
        assert client.put("/v1/items/new-without-encoder", json={"title": "A rod"}).is_success
        assert send(client, "u1", "fish-rod-1").status_code == 202
    trained_site.kill_api()


def test_artifact_store_away(trained_site: Site) -> None:
    """A process that holds the model goes on, and no other version can be activated; one that starts meanwhile serves fallbacks, and the
    model as soon as it can be had."""
    trained_site.start_api()
    trained_site.wait_ready()
    models, away = trained_site.folder / "models", trained_site.folder / "models-away"
    with trained_site.client() as client:
        live = slate(client, "u1")
        assert live["degraded"] == []
        other = {"v1": "v2", "v2": "v1"}[live["model_version"]]
        shutil.move(models, away)
        try:
            refused = client.post(f"/v1/admin/models/{other}/activate", json={"force": True})
            assert (refused.status_code, refused.json()["code"]) == (409, "artifact_broken")
            assert slate(client, "u1")["model_version"] == live["model_version"]
            trained_site.kill_api()
            trained_site.start_api()
            trained_site.wait_ready()
            assert "model" in slate(client, "u1")["degraded"]
        finally:
            shutil.move(away, models)
        until(lambda: slate(client, "u1")["model_version"] == live["model_version"])
        assert slate(client, "u1")["degraded"] == []
    trained_site.kill_api()
