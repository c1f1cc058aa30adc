"""The report over HTTP: of slates that the service itself recorded."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.integration.http.conftest import Service, is_problem

URL = "/v1/admin/report"


def within(seconds: float, found: Callable[[], dict[str, Any] | None]) -> dict[str, Any]:
    """Impressions are written up to 0.2 s after the reply."""
    deadline = time.monotonic() + seconds
    while (document := found()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return document


def test_what_shoppers_do_with_slates_stands_in_the_report(admin: httpx.Client, new_id: str) -> None:
    admin.put(f"/v1/scenarios/{new_id}", json={"description": "A place of this test's own", "n": 4})
    admin.post("/v1/items", json=[{"item_id": f"{new_id}-{n}", "title": f"Thing {n}"} for n in range(4)])
    slates = [
        admin.post("/v1/recommendations", json={"scenario": new_id, "user_id": f"{new_id}-{user}"}).json()
        for user in ("u", "v", "u")
    ]
    row = within(20, lambda: row_of(admin, new_id, 3))
    assert row == {
        "scenario": new_id, "variant": None, "model_version": None, "slates": 3, "shoppers": 2, "impressions": 12, "clicks": 0,
        "ctr": {"value": 0.0, "low": 0.0, "high": row["ctr"]["high"]},
        "purchases": 0, "cvr": {"value": None, "low": None, "high": None}, "revenue": [], "coverage": row["coverage"],
    }  # fmt: skip
    assert 0 < row["ctr"]["high"] < 1
    assert 0 < row["coverage"] <= 1

    first, second = (
        {"recommendation_id": slate["recommendation_id"], "user_id": f"{new_id}-u"} for slate in slates[:2]
    )
    item_ids = [item["item_id"] for item in slates[0]["items"]]
    bought = {"type": "purchase", "value": 19.8, "quantity": 2, "currency": "EUR"}
    events = [
        {"type": "click", "item_id": item_ids[0], **first},
        {"type": "click", "item_id": item_ids[0], **first},
        {"item_id": item_ids[0], **bought, **first},
        {"type": "click", "item_id": slates[1]["items"][3]["item_id"], **second},
        {"type": "click", "item_id": new_id, **second},
    ]
    answer = admin.post("/v1/feedback", json={"events": events}).json()
    assert (answer["accepted"], answer["rejected"]) == (5, [])
    row = row_of(admin, new_id, 3) or {}
    assert (row["clicks"], row["ctr"]["value"], row["purchases"], row["cvr"]["value"]) == (2, 2 / 12, 1, 0.5)
    assert [(money["currency"], money["value"], money["per_slate"]["value"]) for money in row["revenue"]] == [
        ("EUR", 19.8, pytest.approx(6.6))
    ]
    assert row["ctr"]["low"] < row["ctr"]["value"] < row["ctr"]["high"]

    admin.delete(f"/v1/feedback/{answer['event_ids'][2]}")
    row = row_of(admin, new_id, 3) or {}
    assert (row["clicks"], row["purchases"], row["revenue"]) == (2, 0, [])

    both = admin.get(URL, params={"by": "model_version,scenario", "window": "1h"}).json()
    assert both["by"] == ["model_version", "scenario"]
    mine = [row for row in both["rows"] if row["scenario"] == new_id]
    assert [(row["model_version"], row["slates"]) for row in mine] == [("none", 3)]


def test_variants_of_an_experiment_are_told_apart(admin: httpx.Client, new_id: str) -> None:
    admin.put(f"/v1/scenarios/{new_id}", json={"description": "A place that is tried", "n": 4})
    admin.post("/v1/items", json=[{"item_id": f"{new_id}-{n}", "title": f"Thing {n}"} for n in range(4)])
    variants = [{"name": "control", "share": 0.5}, {"name": "few", "share": 0.5, "overrides": {"n": 2}}]
    admin.put(f"/v1/admin/experiments/{new_id}", json={"scenario": new_id, "variants": variants})
    seen: dict[str, int] = {"control": 0, "few": 0}
    for n in range(20):
        asked = {"scenario": new_id, "user_id": f"{new_id}-u{n}"}
        slate = admin.post("/v1/recommendations", json=asked).json()
        seen[slate["variant"]] += 1
        if slate["variant"] == "few":
            click = {"type": "click", "item_id": slate["items"][0]["item_id"], "user_id": asked["user_id"]}
            admin.post("/v1/feedback", json={**click, "recommendation_id": slate["recommendation_id"]})
    assert all(seen.values())

    def found() -> dict[str, Any] | None:
        rows = admin.get(URL, params={"by": "scenario,variant"}).json()["rows"]
        mine = {row["variant"]: row for row in rows if row["scenario"] == new_id}
        return mine if sum(row["slates"] for row in mine.values()) == 20 else None

    rows = within(20, found)
    assert {name: row["shoppers"] for name, row in rows.items()} == seen
    assert {name: row["impressions"] for name, row in rows.items()} == {
        "control": 4 * seen["control"],
        "few": 2 * seen["few"],
    }
    assert (rows["few"]["ctr"]["value"], rows["control"]["clicks"]) == (0.5, 0)
    assert rows["control"]["ctr"]["low"] == 0 < rows["few"]["ctr"]["low"]


def row_of(admin: httpx.Client, scenario: str, slates: int) -> dict[str, Any] | None:
    rows = [row for row in admin.get(URL).json()["rows"] if row["scenario"] == scenario]
    return rows[0] if rows and rows[0]["slates"] == slates else None


@pytest.mark.parametrize(
    ("window", "length"),
    [
        ("1m", timedelta(minutes=1)),
        ("30m", timedelta(minutes=30)),
        ("24h", timedelta(days=1)),
        ("366d", timedelta(days=366)),
        ("4w", timedelta(days=28)),
        (None, timedelta(days=7)),
    ],
)
def test_windows(admin: httpx.Client, window: str | None, length: timedelta) -> None:
    report = admin.get(URL, params={"window": window} if window else {}).json()
    assert datetime.fromisoformat(report["until"]) - datetime.fromisoformat(report["from"]) == length
    assert report["by"] == ["scenario"]


def test_no_names_give_the_total_only(admin: httpx.Client) -> None:
    report = admin.get(f"{URL}?by=").json()
    assert (report["by"], report["rows"]) == ([], [])
    assert report["total"]["scenario"] is None


@pytest.mark.parametrize(
    "window",
    ["", "7", "d", "7y", "7D", "0d", "-1d", "1.5h", "367d", "53w", "8785h", "999999m", "1d1h", " 7d", "7d\n", "٧d", "9" * 5_000 + "d"],
)  # fmt: skip
def test_bad_windows(admin: httpx.Client, window: str) -> None:
    problem = is_problem(admin.get(URL, params={"window": window}), 422, "bad_window")
    assert problem["errors"][0]["loc"] == ["window"]
    assert "such as 30m, 24h, 7d, 4w" in problem["detail"]
    assert repr(window)[1:40] in problem["detail"] or not window.isprintable()


@pytest.mark.parametrize("by", ["user_id", "scenario,scenario", "scenario,", ",", "scenario, variant", "Scenario"])
def test_bad_names(admin: httpx.Client, by: str) -> None:
    problem = is_problem(admin.get(URL, params={"by": by}), 422, "bad_by")
    assert problem["errors"][0]["loc"] == ["by"]
    assert "scenario, variant, model_version" in problem["detail"]
    assert repr(by) in problem["detail"]


def test_other_parameters_and_repeated_ones_are_refused(admin: httpx.Client) -> None:
    is_problem(admin.get(URL, params={"windows": "7d"}), 422, "unknown_field")
    is_problem(admin.get(f"{URL}?by=scenario&by=variant"), 422, "repeated")


def test_the_report_needs_the_admin_scope(service: Service, admin: httpx.Client) -> None:
    scopes = ["recommend", "feedback", "catalog"]
    key = admin.post("/v1/admin/keys", json={"name": "shop", "scopes": scopes}).json()["key"]
    with service.client(key) as shop:
        is_problem(shop.get(URL), 403, "missing_scope")
    with service.client(None) as anyone:
        is_problem(anyone.get(URL), 401, "missing_key")
