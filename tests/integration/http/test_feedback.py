"""Events over HTTP: each row counted once, duplicates recognised, one event taken back."""

from __future__ import annotations

import json

import httpx

from tests.integration.http.conftest import is_problem


def test_one_event_gets_an_id_and_counts_once(admin: httpx.Client, new_id: str) -> None:
    event = {"type": "click", "item_id": new_id, "session_id": new_id}
    first = admin.post("/v1/feedback", json=event)
    assert first.status_code == 202
    (event_id,) = first.json()["event_ids"]
    assert first.json() == {"accepted": 1, "duplicates": 0, "rejected": [], "event_ids": [event_id]}
    again = admin.post("/v1/feedback", json={**event, "event_id": event_id})
    assert again.json() == {"accepted": 0, "duplicates": 1, "rejected": [], "event_ids": [event_id]}


def test_in_a_list_each_row_stands_alone(admin: httpx.Client, new_id: str) -> None:
    click = {"type": "click", "item_id": new_id, "user_id": new_id}
    rows = [
        {**click, "event_id": f"{new_id}-1"},
        {**click, "event_id": f"{new_id}-1"},
        {**click, "position": 0},
        {**click, "event_id": f"{new_id}-2", "type": "bookmark"},
    ]
    answer = admin.post("/v1/feedback", json={"events": rows}).json()
    assert (answer["accepted"], answer["duplicates"]) == (2, 1)
    assert [(row["index"], row["code"]) for row in answer["rejected"]] == [(2, "out_of_range")]
    assert answer["event_ids"] == [f"{new_id}-1", f"{new_id}-1", f"{new_id}-2"]


def test_ndjson_counts_the_same(admin: httpx.Client, new_id: str) -> None:
    rows = [{"type": "view", "item_id": new_id, "user_id": new_id, "event_id": f"{new_id}-{i}"} for i in range(1_000)]
    body = "\r\n".join(map(json.dumps, rows))
    for accepted, duplicates in ((1_000, 0), (0, 1_000)):
        answer = admin.post("/v1/feedback", content=body, headers={"Content-Type": "application/x-ndjson"}).json()
        assert (answer["accepted"], answer["duplicates"], answer["rejected"]) == (accepted, duplicates, [])


def test_an_event_is_taken_back_once_and_its_id_stays_taken(admin: httpx.Client, new_id: str) -> None:
    event = {"type": "like", "item_id": new_id, "user_id": new_id, "event_id": new_id}
    admin.post("/v1/feedback", json=event)
    assert admin.delete(f"/v1/feedback/{new_id}").status_code == 204
    is_problem(admin.delete(f"/v1/feedback/{new_id}"), 404, "event_not_found")
    is_problem(admin.delete("/v1/feedback/never-sent"), 404, "event_not_found")
    assert admin.post("/v1/feedback", json=event).json()["duplicates"] == 1


def test_what_was_received_is_counted_in_the_metrics(admin: httpx.Client, new_id: str) -> None:
    def counts() -> dict[str, float]:
        lines = admin.get("/metrics").text.splitlines()
        found = (line.rsplit(" ", 1) for line in lines if line.startswith("duoscene_events_total{"))
        return {name.split('"')[1]: float(value) for name, value in found}

    before = counts()
    good = {"type": "click", "item_id": new_id, "user_id": new_id, "event_id": new_id}
    admin.post("/v1/feedback", json={"events": [good, good, {}]})
    after = counts()
    assert {name: after[name] - before.get(name, 0) for name in after} == {
        "accepted": 1, "duplicate": 1, "rejected": 1,
    }  # fmt: skip
