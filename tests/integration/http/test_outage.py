"""A storefront is answered while one API process lives, even with PostgreSQL and Redis both gone; then all comes back."""

from __future__ import annotations

import time
from pathlib import Path

import httpx

from app.embedded import start_embedded
from app.stores.postgres.migrate import migrate
from tests.integration.http.conftest import is_problem, start_service

CLICK = {"type": "click", "item_id": "sku-1", "user_id": "u1"}


def test_slates_outlive_the_stores(tmp_path: Path) -> None:
    stores = start_embedded(tmp_path / "stores")
    try:
        migrate(stores.database_url)
        with start_service(stores.database_url, stores.redis_url, tmp_path) as service, service.client() as admin:
            shop_key = admin.post("/v1/admin/keys", json={"name": "shop", "scopes": ["recommend", "feedback"]}).json()[
                "key"
            ]
            admin.post("/v1/items", json=[{"item_id": f"sku-{i}", "title": f"Thing {i}"} for i in range(30)])
            with service.client(shop_key) as shop:
                assert len(slate(shop)["items"]) == 10

                stores.close()
                gone = slate(shop)
                assert len(gone["items"]) == 10
                assert "user_state" in gone["degraded"]
                for call in (
                    shop.post("/v1/feedback", json=CLICK),
                    admin.get("/v1/items/sku-1"),
                    admin.get("/v1/items"),
                    admin.get("/v1/admin/report"),
                ):
                    is_problem(call, 503, "store_unavailable")
                    assert int(call.headers["retry-after"]) >= 1
                assert admin.get("/healthz").status_code == 200
                ready = admin.get("/readyz").json()
                assert (ready["ready"], ready["postgres"], ready["redis"]) == (True, "down", "down")

                stores = start_embedded(tmp_path / "stores")
                assert accepted_within(shop, seconds=20) == 1
                deadline = time.monotonic() + 20
                while "user_state" in slate(shop)["degraded"]:  # until Redis is rebuilt
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
                assert slate(shop)["degraded"] == ["model"]
    finally:
        stores.close()


def slate(shop: httpx.Client) -> dict:
    response = shop.post("/v1/recommendations", json={"scenario": "home", "user_id": "u1", "n": 10})
    assert response.status_code == 200, response.text
    return response.json()


def accepted_within(shop: httpx.Client, seconds: float) -> int:
    """Sends one event again and again, as its sender would, until it is taken."""
    deadline = time.monotonic() + seconds
    while (response := shop.post("/v1/feedback", json={**CLICK, "event_id": "e1"})).status_code == 503:
        assert time.monotonic() < deadline, response.text
        time.sleep(float(response.headers["retry-after"]) / 4)
    return response.json()["accepted"]
