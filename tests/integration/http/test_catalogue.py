"""Items and users over HTTP: what was written is what is read, row by row and page by page."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.integration.http.conftest import is_problem

NDJSON = {"Content-Type": "application/x-ndjson"}
ITEM: dict[str, Any] = {
    "title": "Tea cup", "description": "For tea.", "category": ["Kitchen", "Cups"], "brand": "A", "price": 4.5,
    "currency": "EUR", "tags": ["tea"], "attributes": {"colour": "red", "size": {"ml": 250}}, "image_url": "https://x/y.jpg",
    "locale": "en", "available": True, "published_at": "2026-01-31T12:00:00Z", "expires_at": None,
}  # fmt: skip
USER: dict[str, Any] = {
    "text": "I like tea.", "age": 34, "gender": "f", "occupation": "teacher", "country": "GB", "locale": "en",
    "tags": ["vip"], "attributes": {"store": 7}, "consent": {"personalize": True, "train": False},
}  # fmt: skip


@pytest.mark.parametrize(("kind", "row"), [("item", ITEM), ("user", USER)])
def test_put_get_patch_delete(admin: httpx.Client, new_id: str, kind: str, row: dict[str, Any]) -> None:
    url = f"/v1/{kind}s/{new_id}"
    put = admin.put(url, json=row)
    assert put.status_code == 200, put.text
    created_at = put.json()["created_at"]
    assert put.json() == {f"{kind}_id": new_id, **row, "created_at": created_at}
    assert admin.get(url).json() == put.json()
    assert admin.put(url, json=admin.get(url).json()).json() == put.json(), "what was read can be put back"

    patched = admin.patch(url, json={"attributes": {"new": 1}, "tags": None, "locale": "de"}).json()
    assert patched == {**put.json(), "attributes": {**row["attributes"], "new": 1}, "tags": [], "locale": "de"}
    assert admin.get(url).json() == patched

    assert admin.put(url, json={}).json()["attributes"] == {}, "PUT replaces the whole"
    assert admin.delete(url).status_code == (204 if kind == "item" else 200)
    for call in (admin.get(url), admin.delete(url), admin.patch(url, json={})):
        is_problem(call, 404, f"{kind}_not_found")


@pytest.mark.parametrize("item_id", ["a/similar", "100%", "a b+c", "红茶", "...", "%2F", "a?b#c", "💡" * 256])
def test_any_id_survives_its_path(admin: httpx.Client, item_id: str) -> None:
    url = f"/v1/items/{quote(item_id, safe='')}"
    assert admin.put(url, json={"title": "x"}).json()["item_id"] == item_id
    assert admin.get(url).json()["item_id"] == item_id
    assert admin.delete(url).status_code == 204


@pytest.mark.parametrize("kind", ["item", "user"])
def test_bulk_rows_stand_alone(admin: httpx.Client, new_id: str, kind: str) -> None:
    rows: list[Any] = [
        {f"{kind}_id": f"{new_id}-1", "tags": ["first"]},
        {f"{kind}_id": f"{new_id}-2", "colour": "red"},
        17,
        {"tags": []},
        {f"{kind}_id": f"{new_id}-1", "tags": ["last"]},
    ]
    lines = "\n".join([*map(json.dumps, rows), "", "{not json"])
    listed = admin.post(f"/v1/{kind}s", json=rows)
    streamed = admin.post(f"/v1/{kind}s", content=lines, headers=NDJSON)
    assert (listed.status_code, streamed.status_code) == (200, 200)
    assert listed.json()["accepted"] == streamed.json()["accepted"] == 2
    assert [(r["index"], r["code"]) for r in streamed.json()["rejected"]] == [
        (1, "unknown_field"), (2, "wrong_type"), (3, "missing_field"), (5, "malformed_json"),
    ]  # fmt: skip
    assert listed.json()["rejected"] == streamed.json()["rejected"][:3]
    assert admin.get(f"/v1/{kind}s/{new_id}-1").json()["tags"] == ["last"]


@pytest.mark.parametrize(("kind", "field"), [("item", "title"), ("user", "user_id")])
def test_listings_page_stably(admin: httpx.Client, new_id: str, kind: str, field: str) -> None:
    names = [f"{new_id}-{i}" for i in ("é", "B", "a", "b", "10", "9")]
    rows = [{f"{kind}_id": name, **({"title": name} if kind == "item" else {})} for name in names]
    assert admin.post(f"/v1/{kind}s", json=rows).json()["accepted"] == 6

    seen: list[str] = []
    query = {"limit": "2", "q": new_id.upper()}
    while True:
        page = admin.get(f"/v1/{kind}s", params=query).json()
        assert len(page[f"{kind}s"]) <= 2
        seen += [row[f"{kind}_id"] for row in page[f"{kind}s"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == sorted(names, key=str.encode)


def test_an_item_known_only_from_events_is_not_there(admin: httpx.Client, new_id: str) -> None:
    event = {"type": "view", "item_id": new_id, "user_id": new_id}
    assert admin.post("/v1/feedback", json=event).status_code == 202
    is_problem(admin.get(f"/v1/items/{new_id}"), 404, "item_not_found")
    is_problem(admin.get(f"/v1/users/{new_id}"), 404, "user_not_found")
