"""Rules of a slate as an admin sets them and a storefront meets them; without a model, so by what sells and what is new."""

from __future__ import annotations

import time

import httpx
import pytest

from tests.integration.http.conftest import is_problem


@pytest.fixture
def shop(admin: httpx.Client, new_id: str) -> str:
    """Twelve items of one brand name of this test's own, newest last."""
    items = [
        {"item_id": f"{new_id}-{n}", "title": f"Thing {n}", "brand": f"{new_id}-{n % 3}", "tags": [new_id], "price": n + 1.0,
         "published_at": f"2026-01-{n + 1:02}T00:00:00Z"}
        for n in range(12)
    ]  # fmt: skip
    assert admin.post("/v1/items", json=items).json()["accepted"] == 12
    return new_id


def put(admin: httpx.Client, shop: str, **rules: object) -> None:
    body = {
        "description": "Anything.",
        "filter": {"field": "tags", "contains": shop},
        "n": 6,
        "fallback": ["new"],
        **rules,
    }
    response = admin.put(f"/v1/scenarios/{shop}", json=body)
    assert response.status_code == 200, response.text


def slate(admin: httpx.Client, shop: str, **request: object) -> list[int]:
    response = admin.post("/v1/recommendations", json={"scenario": shop, **request})
    assert response.status_code == 200, response.text
    return [int(item["item_id"].removeprefix(f"{shop}-")) for item in response.json()["items"]]


def test_pins_promotions_and_caps_of_a_scenario(admin: httpx.Client, shop: str) -> None:
    put(admin, shop)
    assert slate(admin, shop) == [11, 10, 9, 8, 7, 6]
    put(admin, shop, pins=[{"position": 2, "item_id": f"{shop}-0", "until": "2100-01-01T00:00:00Z"}])
    assert slate(admin, shop) == [11, 0, 10, 9, 8, 7]
    assert slate(admin, shop, exclude_items=[f"{shop}-0"]) == [11, 10, 9, 8, 7, 6]
    put(admin, shop, page_promotions=[{"filter": {"field": "price", "lt": 3}, "share": 0.3}])
    assert slate(admin, shop) == [11, 10, 9, 1, 8, 0]
    put(admin, shop, caps={"brand": 1}, n=3)
    assert slate(admin, shop) == [11, 10, 9]
    assert slate(admin, shop, filter={"field": "brand", "ne": f"{shop}-1"}) == [11, 9, 8]


def test_what_was_seen_twice_goes_until_it_is_clicked(admin: httpx.Client, shop: str) -> None:
    put(admin, shop, exclude={"seen_impressions": 2}, n=4)
    viewer = {"session_id": f"s-{shop}"}
    seen = [{"type": "impression", "item_id": f"{shop}-{n}", **viewer} for n in (11, 10, 10)]
    assert admin.post("/v1/feedback", json={"events": seen}).json()["accepted"] == 3
    assert slate(admin, shop, **viewer) == [11, 9, 8, 7]  # and the service counts this slate itself
    deadline = time.monotonic() + 20
    while 11 in (now := slate(admin, shop, session_id=viewer["session_id"])) and time.monotonic() < deadline:
        time.sleep(0.05)  # the impression is written behind the answer
    assert 11 not in now
    assert admin.post("/v1/feedback", json={"type": "click", "item_id": f"{shop}-10", **viewer}).status_code == 202
    assert 10 in slate(admin, shop, **viewer)


def test_a_dislike_goes_and_comes_back_when_retracted(admin: httpx.Client, shop: str) -> None:
    put(admin, shop)
    viewer = {"user_id": f"u-{shop}"}
    answer = admin.post("/v1/feedback", json={"type": "dislike", "item_id": f"{shop}-11", **viewer}).json()
    assert slate(admin, shop, **viewer) == [10, 9, 8, 7, 6, 5]
    assert admin.delete(f"/v1/feedback/{answer['event_ids'][0]}").status_code == 204
    assert slate(admin, shop, **viewer) == [11, 10, 9, 8, 7, 6]


@pytest.mark.parametrize("rules", [{"boosts": [{"filter": {"field": "prize", "lt": 5}, "factor": 2}]}, {"page_promotions": [{"filter": {"field": "prize", "lt": 5}, "share": 0.5}]}])  # fmt: skip
def test_a_rule_with_an_impossible_filter_is_refused_with_its_place(admin: httpx.Client, new_id: str, rules: dict[str, list[object]]) -> None:  # fmt: skip
    document = is_problem(
        admin.put(f"/v1/scenarios/{new_id}", json={"description": "x", **rules}), 422, "filter_unknown_field"
    )
    assert document["errors"][0]["loc"] == [*rules, 0, "filter", "field"]
    if "boosts" in rules:
        document = is_problem(admin.post("/v1/recommendations", json={"scenario": "home", **rules}), 422)
        assert document["errors"][0]["loc"] == ["boosts", 0, "filter", "field"]


def test_get_is_post_with_the_plain_fields(admin: httpx.Client, shop: str) -> None:
    put(admin, shop)
    plain = {"scenario": shop, "user_id": "u 1", "n": 4, "exclude_items": [f"{shop}-11"], "seed": 5}
    posted = admin.post("/v1/recommendations", json={**plain, "fields": ["title", "price"]}).json()["items"]
    for names in ("title,price", ["title", "price"]):
        asked = admin.get("/v1/recommendations", params={**plain, "fields": names})
        assert asked.json()["items"] == posted
    bad = admin.get("/v1/recommendations", params={**plain, "fields": "title,"})
    assert is_problem(bad, 422)["errors"][0]["loc"] == ["fields", 1]
