"""Nobody in: who may call what, how often and how much, and what no answer ever gives away."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from app.access.keys import SCOPES
from app.main import create_app
from tests.conftest import Servers, database_named, run_sql
from tests.integration.http.conftest import ADMIN_KEY, Service, is_problem, start_service

METHODS = ("get", "put", "post", "patch", "delete")
PROTECTED = [
    pytest.param(method, path, operation, id=operation["operationId"])
    for path, operations in create_app().openapi()["paths"].items()
    for method, operation in operations.items()
    if method in METHODS and operation["security"]
]


@pytest.fixture(scope="module")
def keys_by_scope(admin: httpx.Client) -> dict[str, str]:
    return {
        scope: admin.post("/v1/admin/keys", json={"name": f"only {scope}", "scopes": [scope]}).json()["key"]
        for scope in SCOPES
    }


def call_that_changes_nothing(client: httpx.Client, method: str, path: str) -> httpx.Response:
    """Ids of nothing that exists, and no body: whoever is let in gets an error of another kind, or an empty listing."""
    return client.request(method, re.sub(r"\{\w+\}", f"none-such-{uuid.uuid4().hex}", path))


@pytest.mark.parametrize(("method", "path", "operation"), PROTECTED)
def test_every_operation_opens_to_its_scope_and_to_admin_only(
    service: Service, keys_by_scope: dict[str, str], method: str, path: str, operation: dict[str, Any]
) -> None:
    ((needed,),) = operation["security"][0].values()
    for scope, key in keys_by_scope.items():
        with service.client(key) as client:
            status = call_that_changes_nothing(client, method, path).status_code
        if scope in (needed, "admin"):
            assert status not in (401, 403), scope
            assert status < 500 or status == 503, scope
        else:
            assert status == 403, scope


@pytest.mark.parametrize(("method", "path", "operation"), PROTECTED)
def test_no_operation_opens_without_a_key_or_with_a_wrong_one(
    service: Service, method: str, path: str, operation: dict[str, Any]
) -> None:
    for key, code in ((None, "missing_key"), ("dsk_" + "A" * 43, "unknown_key")):
        with service.client(key) as client:
            is_problem(call_that_changes_nothing(client, method, path), 401, code)


def test_the_document_names_every_scope_there_is() -> None:
    named = {next(iter(parameter.values[2]["security"][0].values()))[0] for parameter in PROTECTED}
    assert named == set(SCOPES)


@pytest.mark.parametrize(
    "path", ["/healthz", "/metrics", "/docs", "/docs/assets/swagger-ui.css", "/openapi.json", "/nowhere", "/v1/items", "/v1/items/x"]
)  # fmt: skip
def test_every_answer_is_hardened(service: Service, admin: httpx.Client, path: str) -> None:
    for answer in (admin.get(path), httpx.get(service.url + path)):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "server" not in answer.headers
        assert (answer.headers.get("cache-control") == "no-store") == path.startswith("/v1/")


def test_the_documentation_runs_only_its_own_scripts(admin: httpx.Client) -> None:
    page = admin.get("/docs")
    policy = page.headers["content-security-policy"]
    assert "script-src 'self' 'sha256-" in policy
    assert "unsafe-eval" not in policy
    assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]


def test_a_key_over_its_rate_waits_and_the_others_do_not(service: Service, admin: httpx.Client) -> None:
    created = admin.post("/v1/admin/keys", json={"name": "slow", "scopes": ["catalog"], "rate_limit_per_minute": 3})
    with service.client(created.json()["key"]) as slow:
        statuses = [slow.get("/v1/items?limit=1").status_code for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
        refused = slow.get("/v1/items?limit=1")
        is_problem(refused, 429, "rate_limited")
        assert 1 <= int(refused.headers["retry-after"]) <= 20
        is_problem(slow.get("/v1/scenarios"), 429)
    assert admin.get("/v1/items?limit=1").status_code == 200
    listed = {key["id"]: key for key in admin.get("/v1/admin/keys?limit=1000").json()["keys"]}
    assert listed[created.json()["id"]]["rate_limit_per_minute"] == 3


def test_no_key_is_ever_logged(service: Service, admin: httpx.Client) -> None:
    """Neither the admin's, nor a made one, nor what somebody took for one, wherever it stood."""
    made = admin.post("/v1/admin/keys", json={"name": "quiet", "scopes": ["catalog"]}).json()["key"]
    wrong = "dsk_" + "Z" * 43
    for key in (ADMIN_KEY, made, wrong):
        for header in (f"Bearer {key}", f"bearer  {key}", f"Basic {key}", key, f"Bearer {key} {key}"):
            httpx.get(f"{service.url}/v1/items", headers={"Authorization": header})
        httpx.get(f"{service.url}/v1/items", params={"api_key": key})
        httpx.post(f"{service.url}/v1/items", content=key.encode(), headers={"Authorization": f"Bearer {key}"})
    assert admin.get("/v1/admin/keys").status_code == 200
    text = service.log.read_text()
    assert "duration_ms" in text, "requests are logged"
    for key in (ADMIN_KEY, made, wrong):
        assert key not in text


def test_filters_that_cost_too_much_are_refused(admin: httpx.Client) -> None:
    clause = {"field": "price", "lt": 5}

    def asked(**more: Any) -> httpx.Response:
        return admin.post("/v1/recommendations", json={"scenario": "home", **more})

    assert asked(filter={"and": [clause] * 100}).status_code == 200
    is_problem(asked(filter={"and": [clause] * 101}), 422, "filter_too_large")
    deep: dict[str, Any] = clause
    for _ in range(11):
        deep = {"not": deep}
    is_problem(asked(filter=deep), 422, "filter_too_deep")
    boosts = [{"filter": {"and": [clause] * 10}, "factor": 2}] * 15
    assert asked(boosts=boosts).status_code == 200
    is_problem(asked(boosts=[*boosts, boosts[0]]), 422, "query_too_costly")
    long_list = {"field": "brand", "in": [f"b{i}" for i in range(1_000)]}
    is_problem(asked(filter={"field": "brand", "in": [*long_list["in"], "one more"]}), 422, "filter_too_large")
    is_problem(asked(filter={"or": [long_list] * 20}), 422, "query_too_costly")


INJECTIONS = (
    "'; DROP TABLE items; --", "' OR '1'='1", '" OR ""="', "1; SELECT pg_sleep(10)", "\\'; --", "%", "_", "%%' OR true --",
    "$$; DELETE FROM users; $$", "{{7*7}}", "${jndi:ldap://x}", "*", "x*", "duoscene:um:*", '{"$ne": null}', "../../etc/passwd",
    "<script>alert(1)</script>", "a:b", ":name", "?", "u'||'1",
)  # fmt: skip


@pytest.mark.parametrize("word", INJECTIONS)
def test_what_looks_like_a_query_is_only_a_word(admin: httpx.Client, new_id: str, word: str) -> None:
    evil, other = f"{word}{new_id}", f"innocent-{new_id}"
    for item_id in (evil, other):
        admin.put(f"/v1/items/{quote(item_id, safe='')}", json={"title": f"title {item_id}", "brand": item_id})
        admin.put(f"/v1/users/{quote(item_id, safe='')}", json={"text": "tea"})
    assert admin.get(f"/v1/items/{quote(evil, safe='')}").json()["item_id"] == evil
    found = admin.get("/v1/items", params={"q": evil, "limit": 1000}).json()["items"]
    assert [item["item_id"] for item in found] == [evil]
    found = admin.get("/v1/users", params={"q": evil, "limit": 1000}).json()["users"]
    assert [user["user_id"] for user in found] == [evil]

    event = {"type": "click", "item_id": evil, "user_id": evil, "event_id": evil, "scenario": word, "order_id": evil}
    assert admin.post("/v1/feedback", json=event).json()["accepted"] == 1
    slate = admin.post(
        "/v1/recommendations",
        json={"scenario": "home", "user_id": evil, "filter": {"field": "brand", "eq": evil}, "exclude_items": [word]},
    )
    assert [item["item_id"] for item in slate.json()["items"]] in ([evil], []), "only what is of this brand"
    attribute = {"field": f"attributes.{word}", "eq": word}
    assert admin.post("/v1/recommendations", json={"scenario": "home", "filter": attribute}).status_code in (200, 422)

    assert admin.delete(f"/v1/feedback/{quote(evil, safe='')}").status_code == 204
    for kind in ("items", "users"):
        assert admin.delete(f"/v1/{kind}/{quote(evil, safe='')}").status_code in (200, 204)
        assert admin.get(f"/v1/{kind}/{quote(other, safe='')}").status_code == 200
        is_problem(admin.get(f"/v1/{kind}/{quote(evil, safe='')}"), 404)


@pytest.mark.parametrize(
    "name", ["..%2f..%2fetc%2fpasswd", "%2e%2e", "%2fetc%2fpasswd", "..%5c..%5cx", "v1%2f..%2f..%2fx", "models%00x"]
)
def test_a_model_version_is_no_path(admin: httpx.Client, name: str) -> None:
    for answer in (
        admin.get(f"/v1/admin/models/{name}"),
        admin.post(f"/v1/admin/models/{name}/activate", json={"force": True}),
    ):
        assert answer.status_code in (404, 422), answer.text
        assert "root:" not in answer.text


@pytest.fixture
def two_processes(
    servers: Servers, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Service, Service]]:
    name = f"duoscene_two_{uuid.uuid4().hex[:12]}"
    run_sql(servers.database_url, f'CREATE DATABASE "{name}" TEMPLATE "{template_database}"')
    url = database_named(servers.database_url, name)
    folders: list[Path] = [tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")]
    with (
        start_service(url, servers.redis_url, folders[0]) as one,
        start_service(url, servers.redis_url, folders[1], DUOSCENE_METRICS_NEED_KEY="true") as two,
    ):
        yield one, two
    run_sql(servers.database_url, f'DROP DATABASE "{name}" WITH (FORCE)')


def test_a_revoked_key_is_refused_by_every_process_within_two_seconds(two_processes: tuple[Service, Service]) -> None:
    one, two = two_processes
    with one.client() as admin:
        created = admin.post("/v1/admin/keys", json={"name": "shop", "scopes": ["catalog"]}).json()
        with two.client(created["key"]) as shop:
            assert shop.get("/v1/items").status_code == 200
            assert admin.delete(f"/v1/admin/keys/{created['id']}").status_code == 204
            deadline = time.monotonic() + 2
            while (status := shop.get("/v1/items").status_code) == 200:
                assert time.monotonic() < deadline, "still let in"
                time.sleep(0.05)
            assert status == 401


def test_metrics_need_an_admins_key_where_they_are_told_to(two_processes: tuple[Service, Service]) -> None:
    one, two = two_processes
    with one.client(None) as nobody, two.client(None) as stranger, two.client() as admin:
        assert nobody.get("/metrics").status_code == 200
        is_problem(stranger.get("/metrics"), 401, "missing_key")
        shop = admin.post("/v1/admin/keys", json={"name": "shop", "scopes": ["recommend"]}).json()["key"]
        is_problem(stranger.get("/metrics", headers={"Authorization": f"Bearer {shop}"}), 403, "missing_scope")
        assert "duoscene_requests_total" in admin.get("/metrics").text
