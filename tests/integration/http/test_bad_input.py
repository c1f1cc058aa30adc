"""The bad input tour: every kind of nonsense gets its 4xx problem with a helpful detail, and the service stays up."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from app.types import utc_now
from tests.integration.http.conftest import Service, is_problem

RECOMMENDATIONS, FEEDBACK, ITEMS = "/v1/recommendations", "/v1/feedback", "/v1/items"
JSON = {"Content-Type": "application/json"}
NDJSON = {"Content-Type": "application/x-ndjson"}
MIB = 1 << 20


@pytest.fixture(autouse=True)
def _stays_up(service: Service, admin: httpx.Client) -> Iterator[None]:
    """After each stop of the tour: alive, and no request ended in an unexpected error."""
    yield
    assert admin.get("/healthz").status_code == 200
    assert service.process.poll() is None
    assert b"request_failed" not in service.log.read_bytes()


def nested(depth: int) -> bytes:
    return b'{"scenario": "home", "filter": ' + b'{"not": ' * depth + b"{}" + b"}" * depth + b"}"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed_json"),
        (b"{", 400, "malformed_json"),
        (b'{"scenario": "home",}', 400, "malformed_json"),
        (b'{"scenario": "home", "n": NaN}', 400, "malformed_json"),
        (b'{"scenario": "home", "n": ' + b"9" * 5_000 + b"}", 400, "malformed_json"),
        (nested(100_000), 400, "malformed_json"),
        (b"[" * 500_000, 400, "malformed_json"),
        (b'{"scenario": "\xff"}', 400, "invalid_utf8"),
        ('{"scenario": "home"}'.encode("utf-16"), 400, "invalid_utf8"),
        (b'{"scenario": "home", "scenario": "cart"}', 400, "duplicate_key"),
        (nested(200), 422, "too_deep"),
        (b"null", 422, "wrong_type"),
        (b"[]", 422, "wrong_type"),
        (b'"home"', 422, "wrong_type"),
        (b"{}", 422, "missing_field"),
        (b'{"scenario": "home", "n": 1e400}', 422, "wrong_type"),
        (b'{"scenario": "home", "n": 1' + b"0" * 400 + b"}", 422, "out_of_range"),
        (b'{"scenario": "home", "user_id": "\\ud800"}', 422, "bad_text"),
        (b'{"scenario": "home", "\\ud800": 1}', 422, "bad_text"),
        (b'{"scenario": "home", "user_id": "a\\u0000b"}', 422, "bad_id"),
    ],
)
def test_bodies_that_are_no_good_json(admin: httpx.Client, body: bytes, status: int, code: str) -> None:
    is_problem(admin.post(RECOMMENDATIONS, content=body, headers=JSON), status, code)


@pytest.mark.parametrize(
    ("change", "loc", "code"),
    [
        ({"usr_id": "u"}, ["usr_id"], "unknown_field"),
        ({"boost": []}, ["boost"], "unknown_field"),
        ({"query": "x" * 1_001}, ["query"], "too_long"),
        ({"n": "5"}, ["n"], "wrong_type"),
        ({"n": True}, ["n"], "wrong_type"),
        ({"n": 5.5}, ["n"], "wrong_type"),
        ({"n": 0}, ["n"], "out_of_range"),
        ({"n": 201}, ["n"], "out_of_range"),
        ({"user_id": 7}, ["user_id"], "wrong_type"),
        ({"user_id": ""}, ["user_id"], "too_short"),
        ({"user_id": "x" * 300}, ["user_id"], "too_long"),
        ({"user_id": ".."}, ["user_id"], "bad_id"),
        ({"context_items": "sku"}, ["context_items"], "wrong_type"),
        ({"context_items": ["sku", None]}, ["context_items", 1], "wrong_type"),
        ({"context_items": ["sku"] * 51}, ["context_items"], "too_many"),
        ({"exclude_items": ["sku"] * 1_001}, ["exclude_items"], "too_many"),
        ({"fields": ["title", "colour"]}, ["fields", 1], "unknown_field"),
        ({"user": {"age": -1}}, ["user", "age"], "out_of_range"),
        ({"user": {"consent": {}}}, ["user", "consent"], "unknown_field"),
        ({"context": {"x": "y" * 5_000}}, ["context"], "too_large"),
        ({"filter": []}, ["filter"], "wrong_type"),
        ({"filter": {"field": "colour", "eq": "red"}}, ["filter", "field"], "filter_unknown_field"),
        ({"filter": {"field": "price", "like": 5}}, ["filter", "like"], "filter_unknown_operator"),
        ({"filter": {"field": "price", "lt": "50"}}, ["filter", "lt"], "filter_bad_value"),
        (
            {"filter": {"and": [{"field": "brand", "eq": "A"}, {"field": "price", "lt": None}]}},
            ["filter", "and", 1, "lt"],
            "filter_bad_value",
        ),
    ],
)
def test_fields_that_do_not_fit(admin: httpx.Client, change: dict[str, Any], loc: list[Any], code: str) -> None:
    document = is_problem(admin.post(RECOMMENDATIONS, json={"scenario": "home", **change}), 422)
    assert {"loc": loc, "code": code} in [{k: e[k] for k in ("loc", "code")} for e in document["errors"]]
    assert all(error["detail"] for error in document["errors"])


def test_ten_thousand_unknown_fields_get_a_short_answer(admin: httpx.Client) -> None:
    response = admin.post(RECOMMENDATIONS, json={f"field_{i}": i for i in range(10_000)})
    is_problem(response, 422, "unknown_field")
    assert len(response.content) < 20_000


def test_an_unknown_scenario(admin: httpx.Client) -> None:
    document = is_problem(admin.post(RECOMMENDATIONS, json={"scenario": "hoem"}), 404, "scenario_not_found")
    assert "hoem" in document["detail"]
    is_problem(admin.get(RECOMMENDATIONS, params={"scenario": "hoem"}), 404, "scenario_not_found")


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/xml", "application/x-www-form-urlencoded"])
def test_wrong_content_types(admin: httpx.Client, content_type: str) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    for path in (RECOMMENDATIONS, FEEDBACK, ITEMS):
        is_problem(admin.post(path, content=b'{"scenario": "home"}', headers=headers), 415, "unsupported_media_type")


def test_keys_are_checked_before_the_body(service: Service, admin: httpx.Client) -> None:
    created = admin.post("/v1/admin/keys", json={"name": "feedback only", "scopes": ["feedback"]}).json()
    for key, status, code in (
        (None, 401, "missing_key"),
        ("dsk_unknown", 401, "unknown_key"),
        (created["key"], 403, "missing_scope"),
    ):
        with service.client(key) as client:
            response = client.post(RECOMMENDATIONS, content=b"{" * MIB * 2)
            is_problem(response, status, code)
            assert response.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("header", ["", "Bearer", "Basic YTpi", "bearer  x y"])
def test_malformed_authorization(service: Service, header: str) -> None:
    response = httpx.get(f"{service.url}{ITEMS}", headers={"Authorization": header})
    is_problem(response, 401)


def test_bodies_over_the_limit(admin: httpx.Client) -> None:
    body = json.dumps({"scenario": "home", "user_id": "x" * 2 * MIB}).encode()
    document = is_problem(admin.post(RECOMMENDATIONS, content=body, headers=JSON), 413, "body_too_large")
    assert "1 MiB" in document["detail"]


@pytest.mark.parametrize(("path", "chunks"), [(RECOMMENDATIONS, 3), (FEEDBACK, 18), (ITEMS, 18)])
def test_chunked_bodies_over_the_limit_are_refused_while_they_come_in(
    admin: httpx.Client, path: str, chunks: int
) -> None:
    def endless() -> Iterator[bytes]:
        yield b'["'
        for _ in range(chunks):
            yield b"x" * MIB

    response = admin.post(path, content=endless(), headers=JSON)
    assert "content-length" not in response.request.headers
    is_problem(response, 413, "body_too_large")


def test_bulk_bodies_may_be_larger(admin: httpx.Client, new_id: str) -> None:
    rows = [{"item_id": f"{new_id}-{i}", "description": "x" * 40_000} for i in range(60)]
    response = admin.post(ITEMS, json=rows)
    assert response.status_code == 200
    assert response.json() == {"accepted": 60, "rejected": []}


@pytest.mark.parametrize(
    ("raw", "code"),
    [(b'{"price": NaN}', "malformed_json"), (b'{"price": Infinity}', "malformed_json")],
)
def test_a_nan_price_is_no_json(admin: httpx.Client, raw: bytes, code: str) -> None:
    is_problem(admin.put(f"{ITEMS}/nan", content=raw, headers=JSON), 400, code)


@pytest.mark.parametrize(
    ("item", "loc", "code"),
    [
        ({"price": 1e309}, "price", "not_finite"),
        ({"price": -1}, "price", "out_of_range"),
        ({"price": "4.95"}, "price", "wrong_type"),
        ({"price": False}, "price", "wrong_type"),
        ({"title": ["x"]}, "title", "wrong_type"),
        ({"title": "a\x00"}, "title", "bad_text"),
        ({"titel": "x"}, "titel", "unknown_field"),
        ({"published_at": "2026-01-31T12:00:00"}, "published_at", "bad_time"),
        ({"expires_at": 1769860800}, "expires_at", "bad_time"),
        ({"attributes": {"a": 10**30}}, "attributes", "out_of_range"),
        ({"attributes": {"a": {"b": "\x00"}}}, "attributes", "bad_text"),
        ({"item_id": "another"}, "item_id", "id_mismatch"),
    ],
)
def test_items_that_do_not_fit(admin: httpx.Client, new_id: str, item: dict[str, Any], loc: str, code: str) -> None:
    response = admin.put(f"{ITEMS}/{new_id}", content=json.dumps(item).replace("Infinity", "1e999"), headers=JSON)
    document = is_problem(response, 422, code)
    assert document["errors"][0]["loc"][0] == loc
    is_problem(admin.get(f"{ITEMS}/{new_id}"), 404, "item_not_found")


def test_events_that_do_not_fit(admin: httpx.Client, new_id: str) -> None:
    good = {"type": "click", "item_id": new_id, "user_id": new_id}
    future = utc_now().replace(year=utc_now().year + 1).isoformat()
    for change, code in (
        ({"occurred_at": future}, "in_the_future"),
        ({"type": "klick"}, "unknown_event_type"),
        ({"user_id": None}, "no_shopper"),
        ({"item_id": "x" * 300}, "too_long"),
        ({"context": {"a": "b" * 5_000}}, "too_large"),
        ({"scenaro": "home"}, "unknown_field"),
    ):
        is_problem(admin.post(FEEDBACK, json={**good, **change}), 422, code)
    for envelope, code in (({"events": []}, "too_few"), ({"events": [good] * 1_001}, "too_many")):
        is_problem(admin.post(FEEDBACK, json=envelope), 422, code)
    is_problem(admin.post(FEEDBACK, content=b"\n \n", headers=NDJSON), 422, "too_few")
    is_problem(admin.post(FEEDBACK, content=b"{}\n" * 1_001, headers=NDJSON), 422, "too_many")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/items/%FF", 422, "invalid_utf8"),
        ("/v1/items/%zz", 422, "bad_escape"),
        ("/v1/items/%00", 422, "bad_id"),
        ("/v1/items/%2e%2e", 422, "bad_id"),
        ("/v1/items/..", 422, "bad_id"),
        ("/v1/items/.", 422, "bad_id"),
        ("/v1/items/" + "x" * 300, 422, "too_long"),
        ("/v1/items/", 404, "not_found"),
        ("/v1/items/a/b", 404, "not_found"),
        ("/v1/items/../../etc/passwd", 404, "not_found"),
        ("/v1/items?limit=0", 422, "out_of_range"),
        ("/v1/items?limit=1001", 422, "out_of_range"),
        ("/v1/items?limit=ten", 422, "wrong_type"),
        ("/v1/items?cursor=nonsense", 422, "bad_cursor"),
        ("/v1/items?page=2", 422, "unknown_field"),
        ("/v1/items?q=a&q=b", 422, "repeated"),
        ("/v1/recommendations?scenario=home&scenario=cart", 422, "repeated"),
        ("/v1/recommendations?scenario=none-such&fields=title&fields=price", 404, "scenario_not_found"),
        ("/v1/items?q=%FF", 400, "invalid_query"),
        ("/v1/items?q=%00", 422, "bad_text"),
        ("/v1/recommendations?scenario=home&n=many", 422, "wrong_type"),
        ("/v1/recommendations?scenario=home&model=x", 422, "unknown_field"),
        ("/v1/recommendations", 422, "missing_field"),
        ("/v1/items/x/similar?n=0", 422, "out_of_range"),
        ("/v1/admin/jobs/nope", 404, "job_not_found"),
        ("/v1/admin/models/nope", 404, "model_not_found"),
        ("/v1/scenarios/nope", 404, "scenario_not_found"),
        ("/v1/users/nope", 404, "user_not_found"),
        ("/nope", 404, "not_found"),
    ],
)
def test_paths_and_queries_as_they_stand_on_the_wire(service: Service, path: str, status: int, code: str) -> None:
    """Sent over a bare socket, because clients tidy paths up."""
    answered, body = bare_get(service, path)
    document = json.loads(body)
    assert answered == status, document
    assert code in {document["code"], *(error["code"] for error in document.get("errors", ()))}


def bare_get(service: Service, target: str) -> tuple[int, bytes]:
    address = urlsplit(service.url)
    request = (
        f"GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer an-admin-key-for-these-tests\r\n"
        "Connection: close\r\n\r\n"
    )
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.sendall(request.encode("latin-1"))
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def test_a_caller_who_hangs_up_in_the_middle_of_a_body_disturbs_nobody(service: Service) -> None:
    address = urlsplit(service.url)
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.sendall(
            b"POST /v1/feedback HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer an-admin-key-for-these-tests\r\n"
            b'Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"type": '
        )


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "POST"])
def test_methods_that_do_not_exist(admin: httpx.Client, method: str) -> None:
    response = admin.request(method, f"{ITEMS}/x")
    is_problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "DELETE, GET, HEAD, PATCH, PUT"
