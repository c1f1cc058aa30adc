"""Neither logs nor errors repeat what shoppers said, did or are called, nor any key."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx

from app.stores.postgres.engine import unfit
from app.stores.postgres.migrate import migrate
from tests.integration.feedback.test_intake import allow_connections
from tests.integration.http.conftest import ADMIN_KEY, start_service

TEXT, QUERY, CONTEXT, ATTRIBUTE = "mark-profile-words", "mark-query-words", "mark-context-words", "mark-attribute-words"
USER, SESSION, ORDER = "mark-user-id", "mark-session-id", "mark-order-id"
WRONG_KEY = "mark-of-a-key-that-nobody-has"
SAID = (TEXT, QUERY, CONTEXT, ATTRIBUTE, ORDER, WRONG_KEY, ADMIN_KEY)  # in no log and no error
CALLED = (USER, SESSION)  # in no log; an error may name the id that its caller asked for
PROFILE: dict[str, Any] = {"text": TEXT, "attributes": {"note": ATTRIBUTE}}
EVENT: dict[str, Any] = {
    "type": "click", "item_id": "i1", "user_id": USER, "session_id": SESSION, "order_id": ORDER,
    "context": {"query": QUERY, "page": CONTEXT},
}  # fmt: skip


def good_calls(shop: httpx.Client) -> list[httpx.Response]:
    slate = {"scenario": "home", "user_id": USER, "session_id": SESSION, "user": PROFILE, "query": QUERY, "n": 1}
    shop.post("/v1/items", json=[{"item_id": f"i{n}", "title": f"Thing {n}"} for n in range(9)])
    return [
        shop.put(f"/v1/users/{USER}", json=PROFILE),
        shop.post("/v1/feedback", json=EVENT),
        shop.post("/v1/recommendations", json=slate),
        shop.get(f"/v1/users/{USER}/profile"),
        shop.get(f"/v1/users/{USER}/export"),
        shop.get("/v1/users", params={"q": TEXT}),
        shop.post(f"/v1/users/{USER}/merge", json={"from_session_id": SESSION}),
        shop.delete(f"/v1/users/{USER}"),
    ]


def bad_calls(shop: httpx.Client) -> list[httpx.Response]:
    """What is wrong stands beside, or in, something that must not be repeated. (A wrong age or time is: its caller must see it.)"""
    wrong = {"Authorization": f"Bearer {WRONG_KEY}"}
    as_json = {"Content-Type": "application/json"}
    return [
        shop.get("/v1/users", headers=wrong),
        shop.put(f"/v1/users/{USER}", json={**PROFILE, "age": "old"}),
        shop.put(f"/v1/users/{USER}", json={**PROFILE, "tags": 7}),
        shop.put(f"/v1/users/{USER}", json={**PROFILE, "unknown": 1}),
        shop.put(f"/v1/users/{USER}", json={"text": TEXT * 5_000}),
        shop.put(f"/v1/users/{USER}", json={"text": f"{TEXT}\0"}),
        shop.put(f"/v1/users/{USER}", content=f'{{"text": "{TEXT}", "text": "{TEXT}"}}', headers=as_json),
        shop.put(f"/v1/users/{USER}", content=f'{{"text": "{TEXT}"', headers=as_json),
        shop.patch(f"/v1/users/{USER}", json=PROFILE),
        shop.post("/v1/feedback", json={**EVENT, "type": "waved"}),
        shop.post("/v1/feedback", json={**EVENT, "value": "much"}),
        shop.post("/v1/feedback", json={**EVENT, "context": CONTEXT}),
        shop.post("/v1/feedback", json={**EVENT, "context": {"said": CONTEXT + chr(0)}}),
        shop.put(f"/v1/users/{USER}", json={"attributes": ATTRIBUTE}),
        shop.post("/v1/feedback", json={**EVENT, "occurred_at": "soon"}),
        shop.post("/v1/recommendations", json={"scenario": "home", "query": QUERY * 100}),
        shop.post("/v1/recommendations", json={"scenario": "home", "user": {"text": TEXT, "age": "old"}}),
        shop.post("/v1/recommendations/next", json={"cursor": TEXT}),
        shop.get(f"/v1/users/{USER}/export"),
    ]


def test_logs_and_errors_say_nothing_of_shoppers_and_keys(database_url: str, tmp_path: Path, redis_url: str) -> None:
    migrate(database_url)
    with start_service(database_url, redis_url, tmp_path) as service, service.client() as shop:
        answers = good_calls(shop)
        assert [answer.status_code for answer in answers] == [200, 202, 200, 200, 200, 200, 200, 200]
        refused = bad_calls(shop)
        assert {answer.status_code // 100 for answer in refused} == {4}, [answer.status_code for answer in refused]
        asyncio.run(allow_connections(database_url, False))
        away = [shop.put(f"/v1/users/{USER}", json=PROFILE), shop.delete(f"/v1/users/{USER}")]
        shop.post("/v1/feedback", json=EVENT)
        shop.post("/v1/recommendations", json={"scenario": "home", "user_id": USER, "user": PROFILE})
        assert {answer.status_code for answer in away} == {503}
        asyncio.run(allow_connections(database_url, True))
    log = service.log.read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    assert {line["level"] for line in lines} >= {"info", "warning"}
    assert sum(line["event"] == "request" for line in lines) >= len(answers) + len(refused)
    for mark in (*SAID, *CALLED):
        assert mark not in log, mark
    for answer in (*refused, *away):
        for mark in SAID:
            assert mark not in answer.text, (mark, answer.text)


def test_what_a_database_says_of_a_bad_value_is_not_repeated() -> None:
    for said in (
        f"invalid input for query argument $8: ['{CONTEXT}'] (value out of int32 range)",
        f"<class 'asyncpg.exceptions.DataError'>: invalid input syntax for type integer: \"{CONTEXT}\"\nDETAIL: {CONTEXT}",
    ):
        detail = unfit(Exception(said)).detail
        assert CONTEXT not in detail
        assert "invalid input" in detail
