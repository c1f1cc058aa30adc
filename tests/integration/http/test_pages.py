"""Lists that go on, whole pages, rankings and merges over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.integration.http.conftest import Service, is_problem

NUM_ITEMS = 137


@pytest.fixture(scope="module")
def brand(admin: httpx.Client) -> str:
    """All items of this module."""
    rows = [{"item_id": f"page {i}/é", "title": f"Thing {i}", "brand": "paged", "price": i} for i in range(NUM_ITEMS)]
    assert admin.post("/v1/items", json=rows).json()["accepted"] == NUM_ITEMS
    return "paged"


@pytest.fixture(scope="module")
def shop(service: Service, admin: httpx.Client) -> Iterator[httpx.Client]:
    key = admin.post("/v1/admin/keys", json={"name": "paging shop", "scopes": ["recommend"]}).json()["key"]
    with service.client(key) as client:
        yield client


def ids(slate: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in slate["items"]]


def of_brand(brand: str) -> dict[str, Any]:
    return {"field": "brand", "eq": brand}


def test_a_list_goes_on_to_its_end(shop: httpx.Client, brand: str) -> None:
    request = {"scenario": "home", "user_id": "pager", "n": 20, "filter": of_brand(brand), "fields": ["title"]}
    slates = [shop.post("/v1/recommendations", json=request).json()]
    while slates[-1]["next_cursor"] is not None:
        answer = shop.post("/v1/recommendations/next", json={"cursor": slates[-1]["next_cursor"]})
        assert answer.status_code == 200, answer.text
        slates.append(answer.json())
    shown = [item_id for slate in slates for item_id in ids(slate)]
    assert len(shown) == len(set(shown)) == NUM_ITEMS
    assert [len(slate["items"]) for slate in slates] == [20] * 6 + [17]
    assert all(item["fields"]["title"] for slate in slates for item in slate["items"])
    assert len({slate["recommendation_id"] for slate in slates}) == len(slates)


def test_a_cursor_sent_again_returns_the_same_slate(shop: httpx.Client, brand: str) -> None:
    first = shop.get("/v1/recommendations", params={"scenario": "home", "n": 5}).json()
    second, again = (shop.post("/v1/recommendations/next", json={"cursor": first["next_cursor"]}).json() for _ in "12")
    assert {**second, "next_cursor": 0} == {**again, "next_cursor": 0}
    assert not set(ids(first)) & set(ids(second))


def test_a_cursor_of_another_key_and_what_is_no_cursor(shop: httpx.Client, admin: httpx.Client, brand: str) -> None:
    cursor = shop.get("/v1/recommendations", params={"scenario": "home", "n": 5}).json()["next_cursor"]
    is_problem(admin.post("/v1/recommendations/next", json={"cursor": cursor}), 422, "bad_cursor")
    for wrong in ("nonsense", "é", cursor[:-1], cursor + "A", "A" * 900_000):
        document = is_problem(shop.post("/v1/recommendations/next", json={"cursor": wrong}), 422, "bad_cursor")
        assert document["errors"][0]["loc"] == ["cursor"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "missing_field"),
        ({"cursor": None}, "missing_field"),
        ({"cursor": 7}, "wrong_type"),
        ({"cursor": ""}, "too_short"),
        ({"cursor": "x", "n": 5}, "unknown_field"),
        ([], "wrong_type"),
    ],
)
def test_bad_continuations(shop: httpx.Client, body: Any, code: str) -> None:
    is_problem(shop.post("/v1/recommendations/next", json=body), 422, code)


def test_a_page_without_repeats(shop: httpx.Client, brand: str) -> None:
    slates = [
        {"name": "first / ü", "scenario": "home", "n": 50, "filter": of_brand(brand)},
        {"name": "second", "scenario": "promotion", "n": 50, "filter": of_brand(brand), "fields": ["price"]},
        {"name": "third", "scenario": "email", "n": 50, "filter": of_brand(brand)},
    ]
    answer = shop.post(
        "/v1/pages", json={"user_id": "u", "session_id": "s", "context": {"device": "phone"}, "slates": slates}
    )
    assert answer.status_code == 200, answer.text
    page = answer.json()
    assert list(page["slates"]) == ["first / ü", "second", "third"]
    shown = [item_id for slate in page["slates"].values() for item_id in ids(slate)]
    assert len(shown) == len(set(shown)) == NUM_ITEMS
    assert [len(slate["items"]) for slate in page["slates"].values()] == [50, 50, 37]
    assert page["page_id"]
    assert "fields" in page["slates"]["second"]["items"][0]
    assert "fields" not in page["slates"]["third"]["items"][0]


@pytest.mark.parametrize(
    ("change", "loc", "code"),
    [
        ({"slates": []}, ["slates"], "too_few"),
        ({"slates": None}, ["slates"], "missing_field"),
        ({"slates": [{"name": str(i), "scenario": "home"} for i in range(21)]}, ["slates"], "too_many"),
        ({"slates": [{"name": str(i), "scenario": "home", "n": 200} for i in range(6)]}, ["slates"], "page_too_large"),
        ({"slates": [{"name": "a", "scenario": "home"}] * 2}, ["slates", 1, "name"], "duplicate_name"),
        ({"slates": [{"scenario": "home"}]}, ["slates", 0, "name"], "missing_field"),
        ({"slates": [{"name": "", "scenario": "home"}]}, ["slates", 0, "name"], "too_short"),
        ({"slates": [{"name": "a"}]}, ["slates", 0, "scenario"], "missing_field"),
        ({"slates": [{"name": "a", "scenario": "home", "n": 0}]}, ["slates", 0, "n"], "out_of_range"),
        ({"slates": [{"name": "a", "scenario": "home", "user_id": "u"}]}, ["slates", 0, "user_id"], "unknown_field"),
        ({"slates": [{"name": "a", "scenario": "home"}], "n": 5}, ["n"], "unknown_field"),
        (
            {"slates": [{"name": "a", "scenario": "home"}, {"name": "b", "scenario": "home", "filter": {"field": "x", "eq": 1}}]},
            ["slates", 1, "filter", "field"],
            "filter_unknown_field",
        ),
        (
            {"slates": [{"name": "a", "scenario": "home", "fields": ["colour"]}]},
            ["slates", 0, "fields", 0],
            "unknown_field",
        ),
    ],
)  # fmt: skip
def test_bad_pages(shop: httpx.Client, change: dict[str, Any], loc: list[Any], code: str) -> None:
    document = is_problem(shop.post("/v1/pages", json={"user_id": "u", **change}), 422)
    assert {"loc": loc, "code": code} in [{k: e[k] for k in ("loc", "code")} for e in document["errors"]]


def test_an_unknown_scenario_on_a_page_or_in_a_ranking(shop: httpx.Client) -> None:
    slates = [{"name": "a", "scenario": "home"}, {"name": "b", "scenario": "hoem"}]
    is_problem(shop.post("/v1/pages", json={"slates": slates}), 404, "scenario_not_found")
    is_problem(shop.post("/v1/rank", json={"scenario": "hoem", "item_ids": ["a"]}), 404, "scenario_not_found")


def test_a_list_comes_back_in_order(shop: httpx.Client, admin: httpx.Client, brand: str, new_id: str) -> None:
    admin.put(f"/v1/items/{new_id}", json={"title": "Hidden", "brand": new_id, "available": False})
    wanted = [f"page {i}/é" for i in range(100, 20, -1)]
    given = [*wanted, new_id, "no-such-item", wanted[0]]
    body = {
        "scenario": "search",
        "session_id": "s",
        "item_ids": given,
        "filter": {"field": "price", "gt": 30},
        "fields": ["price"],
    }
    ranked = shop.post("/v1/rank", json=body).json()
    assert ranked["unavailable_items"] == [new_id]
    assert ranked["unknown_items"] == ["no-such-item"]
    assert ranked["filtered_items"] == [f"page {i}/é" for i in range(30, 20, -1)]
    assert sorted(ids(ranked)) == sorted(wanted[:70])
    assert [item["position"] for item in ranked["items"]] == list(range(1, 71))
    assert ranked["items"][0]["fields"]["price"] > 30
    assert "next_cursor" not in ranked


def test_a_list_is_ordered_by_what_was_searched_for(shop: httpx.Client, brand: str) -> None:
    given = [f"page {i}/é" for i in range(40)]
    ranked = shop.post("/v1/rank", json={"scenario": "search", "item_ids": given, "query": "a page under 21"}).json()
    assert ranked["interpreted_query"]["filter"] == {"and": [{"field": "price", "lt": 21}]}
    assert {*ids(ranked)} == {*given[:21]}
    assert ranked["filtered_items"] == given[21:]


@pytest.mark.parametrize(
    ("change", "loc", "code"),
    [
        ({"boosts": [{"filter": {"or": [{"field": "price", "lt": 1}] * 40}, "factor": 2.0}] * 4}, [], "query_too_costly"),
        ({"item_ids": []}, ["item_ids"], "too_few"),
        ({"item_ids": None}, ["item_ids"], "missing_field"),
        ({"item_ids": "sku"}, ["item_ids"], "wrong_type"),
        ({"item_ids": ["a"] * 1_001}, ["item_ids"], "too_many"),
        ({"item_ids": ["a", ""]}, ["item_ids", 1], "too_short"),
        ({"item_ids": ["a", 5]}, ["item_ids", 1], "wrong_type"),
        ({"scenario": None}, ["scenario"], "missing_field"),
        ({"n": 5}, ["n"], "unknown_field"),
        ({"filter": {"field": "x", "eq": 1}}, ["filter", "field"], "filter_unknown_field"),
        ({"filter": {"field": "brand", "ne": {"context_item": "brand"}}}, ["filter", "ne"], "filter_context_item_missing"),
        ({"fields": ["colour"]}, ["fields", 0], "unknown_field"),
    ],
)  # fmt: skip
def test_bad_rankings(shop: httpx.Client, change: dict[str, Any], loc: list[Any], code: str) -> None:
    document = is_problem(shop.post("/v1/rank", json={"scenario": "home", "item_ids": ["a"], **change}), 422)
    assert (document["errors"][0]["loc"][: len(loc)], document["errors"][0]["code"]) == (loc, code)


def test_similar_takes_what_a_slate_takes(shop: httpx.Client, admin: httpx.Client, brand: str) -> None:
    path = "/v1/items/page%203%2F%C3%A9/similar"
    first = shop.get(
        path, params={"n": 4, "user_id": "u", "session_id": "s", "fields": ["title"], "diversity": 0.3}
    ).json()
    assert first["scenario"] == "similar"
    assert len(first["items"]) == 4
    assert "page 3/é" not in ids(first)
    other = shop.get(path, params={"n": 4, "exclude_items": ids(first)}).json()
    assert not set(ids(other)) & set(ids(first))
    following = shop.post("/v1/recommendations/next", json={"cursor": first["next_cursor"]}).json()
    assert "page 3/é" not in ids(following)
    is_problem(shop.get(path, params={"diagnostics": True}), 403, "missing_scope")
    assert admin.get(path, params={"diagnostics": True}).json()["diagnostics"]


def test_scopes(service: Service, admin: httpx.Client, shop: httpx.Client) -> None:
    key = admin.post("/v1/admin/keys", json={"name": "events only", "scopes": ["feedback"]}).json()["key"]
    slates = [{"name": "a", "scenario": "home"}]
    calls: dict[str, dict[str, Any]] = {
        "/v1/recommendations/next": {"cursor": "x"},
        "/v1/pages": {"slates": slates},
        "/v1/rank": {"scenario": "home", "item_ids": ["a"]},
    }
    with service.client(key) as feedback:
        for path, body in calls.items():
            is_problem(feedback.post(path, json=body), 403, "missing_scope")
        assert feedback.post("/v1/users/u/merge", json={"from_session_id": "never"}).status_code == 200
    is_problem(shop.post("/v1/users/u/merge", json={"from_session_id": "never"}), 403, "missing_scope")
    for extra in ({"diagnostics": True}, {"model_version": "v1"}):
        is_problem(shop.post("/v1/pages", json={"slates": slates, **extra}), 403, "missing_scope")
        is_problem(shop.post("/v1/rank", json={**calls["/v1/rank"], **extra}), 403, "missing_scope")
        is_problem(shop.post("/v1/recommendations", json={"scenario": "home", **extra}), 403, "missing_scope")
    is_problem(
        admin.post("/v1/recommendations", json={"scenario": "home", "model_version": "v1"}), 404, "model_not_found"
    )


def test_a_guest_becomes_a_customer(admin: httpx.Client, brand: str, new_id: str) -> None:
    guest, session, account = f"guest-{new_id}", f"s-{new_id}", f"u/{new_id}"
    bought = {"type": "purchase", "item_id": "page 1/é"}
    admin.post("/v1/feedback", json={**bought, "session_id": session, "event_id": new_id})
    admin.post("/v1/feedback", json={**bought, "item_id": "page 2/é", "user_id": guest})
    admin.put(f"/v1/users/{guest}", json={"text": "I like things."})
    path = f"/v1/users/{account.replace('/', '%2F')}/merge"
    assert admin.post(path, json={"from_session_id": session}).json() == {
        "events": 1,
        "impressions": 0,
        "profile": False,
    }
    merged = admin.post(path, json={"from_user_id": guest}).json()
    assert (merged["events"], merged["profile"]) == (1, True)
    assert admin.post(path, json={"from_user_id": guest}).json() == {"events": 0, "impressions": 0, "profile": False}

    body = {"scenario": "home", "user_id": account, "n": 200, "filter": of_brand(brand)}
    assert len(admin.post("/v1/recommendations", json=body).json()["items"]) == NUM_ITEMS - 2
    assert admin.delete(f"/v1/feedback/{new_id}").status_code == 204
    assert len(admin.post("/v1/recommendations", json=body).json()["items"]) == NUM_ITEMS - 1
    is_problem(admin.get(f"/v1/users/{guest}"), 404, "user_not_found")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "not_one_source"),
        ({"from_session_id": "s", "from_user_id": "u"}, "not_one_source"),
        ({"from_session_id": None}, "not_one_source"),
        ({"from_session_id": ""}, "too_short"),
        ({"from_user_id": 5}, "wrong_type"),
        ({"from_user_id": "me"}, "merge_into_itself"),
        ({"from_order_id": "o"}, "unknown_field"),
    ],
)
def test_bad_merges(admin: httpx.Client, body: dict[str, Any], code: str) -> None:
    is_problem(admin.post("/v1/users/me/merge", json=body), 422, code)
