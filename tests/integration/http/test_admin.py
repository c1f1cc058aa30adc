"""Keys, scenarios, jobs and models over HTTP."""

from __future__ import annotations

import httpx
import pytest

from app.scenarios.defaults import READY_MADE
from tests.integration.http.conftest import Service, is_problem

CALLS = {
    "recommend": ("GET", "/v1/recommendations?scenario=none-such"),
    "feedback": ("DELETE", "/v1/feedback/none-such"),
    "catalog": ("GET", "/v1/items/none-such"),
    "admin": ("GET", "/v1/scenarios/none-such"),
}


def test_a_key_is_shown_once_opens_its_scopes_and_dies(service: Service, admin: httpx.Client) -> None:
    created = admin.post("/v1/admin/keys", json={"name": "shop", "scopes": ["recommend", "catalog"]})
    assert created.status_code == 201
    document = created.json()
    assert set(document) == {"id", "key", "name", "scopes"}
    assert document["key"].startswith("dsk_")
    listed = {key["id"]: key for key in admin.get("/v1/admin/keys?limit=1000").json()["keys"]}
    assert listed[document["id"]]["scopes"] == ["catalog", "recommend"]
    assert "key" not in listed[document["id"]]

    with service.client(document["key"]) as shop:
        for scope, (method, path) in CALLS.items():
            status = 404 if scope in document["scopes"] else 403
            assert shop.request(method, path).status_code == status, scope
        assert admin.delete(f"/v1/admin/keys/{document['id']}").status_code == 204
        is_problem(shop.get("/v1/items"), 401, "unknown_key")
    is_problem(admin.delete(f"/v1/admin/keys/{document['id']}"), 404, "key_not_found")


def test_diagnostics_need_the_admin_scope(service: Service, admin: httpx.Client) -> None:
    key = admin.post("/v1/admin/keys", json={"name": "shop", "scopes": ["recommend"]}).json()["key"]
    with service.client(key) as shop:
        is_problem(shop.post("/v1/recommendations", json={"scenario": "home", "diagnostics": True}), 403)


@pytest.mark.parametrize(
    "body", [{"name": "x", "scopes": []}, {"name": "x", "scopes": ["root"]}, {"scopes": ["admin"]}]
)
def test_bad_keys(admin: httpx.Client, body: dict[str, object]) -> None:
    is_problem(admin.post("/v1/admin/keys", json=body), 422)


def test_the_ready_made_scenarios_are_there_and_come_back(admin: httpx.Client) -> None:
    names = [scenario["name"] for scenario in admin.get("/v1/scenarios").json()["scenarios"]]
    assert set(READY_MADE) <= set(names)
    original = admin.get("/v1/scenarios/cart").json()
    assert admin.put("/v1/scenarios/cart", json={**original, "n": 3}).json() == {**original, "n": 3}
    assert admin.get("/v1/scenarios/cart").json()["n"] == 3
    assert admin.delete("/v1/scenarios/cart").status_code == 204
    assert admin.get("/v1/scenarios/cart").json() == original


def test_a_scenario_of_ones_own(admin: httpx.Client, new_id: str) -> None:
    url = f"/v1/scenarios/{new_id}"
    pins = [{"position": 2, "item_id": "a", "from": "2026-01-01T00:00:00Z", "until": None}]
    rules = {"filter": {"field": "price", "lte": 50}, "fallback": ["home"], "pins": pins}
    put = admin.put(url, json={"description": "Gift guide", **rules})
    assert put.status_code == 200, put.text
    assert put.json()["pins"] == pins
    assert admin.put(url, json=put.json()).json() == put.json()
    assert put.json()["exclude"] == {"purchased_days": 30.0, "seen_impressions": 0.0, "context_items": True}
    assert admin.get(url).json() == put.json()
    assert admin.delete(url).status_code == 204
    is_problem(admin.delete(url), 404, "scenario_not_found")


def test_a_scenario_that_names_repeat_keeps_no_purchase_away_unless_told_to(admin: httpx.Client, new_id: str) -> None:
    url, body = f"/v1/scenarios/{new_id}", {"description": "Buy again", "sources": {"repeat": "learned"}}
    assert admin.put(url, json=body).json()["exclude"]["purchased_days"] == 0
    told = admin.put(url, json={**body, "exclude": {"purchased_days": 3}})
    assert told.json()["exclude"]["purchased_days"] == 3
    assert admin.put(url, json={**body, "exclude": {}}).json()["exclude"]["purchased_days"] == 0
    assert admin.delete(url).status_code == 204


@pytest.mark.parametrize(
    ("change", "loc", "code"),
    [
        ({"sources": {"magic": 1}}, ["sources", "magic"], "unknown_source"),
        ({"sources": {}}, ["sources"], "too_few"),
        ({"sources": {"new": -1}}, ["sources", "new"], "bad_weight"),
        ({"sources": {"new": True}}, ["sources", "new"], "bad_weight"),
        ({"sources": {"new": "a lot"}}, ["sources", "new"], "bad_weight"),
        ({"fallback": ["nowhere"]}, ["fallback", 0], "unknown_fallback"),
        ({"filter": {"field": "nope", "eq": 1}}, ["filter", "field"], "filter_unknown_field"),
        ({"pin": []}, ["pin"], "unknown_field"),
        ({"pins": [{"position": 0, "item_id": "a"}]}, ["pins", 0, "position"], "out_of_range"),
        (
            {"pins": [{"position": 1, "item_id": "a", "from_at": "2026-01-01T00:00:00Z"}]},
            ["pins", 0, "from_at"],
            "unknown_field",
        ),
        ({"objective": {"click": 0}}, ["objective"], "empty_objective"),
        ({"n": 0}, ["n"], "out_of_range"),
        ({"exclude": {"purchased_days": -1}}, ["exclude", "purchased_days"], "out_of_range"),
        ({"exclude": {"seen_impressions": -3}}, ["exclude", "seen_impressions"], "out_of_range"),
        ({"description": ""}, ["description"], "too_short"),
        ({"name": "other"}, ["name"], "id_mismatch"),
    ],
)
def test_bad_scenarios(admin: httpx.Client, change: dict[str, object], loc: list[object], code: str) -> None:
    response = admin.put("/v1/scenarios/bad", json={"description": "x", **change})
    document = is_problem(response, 422)
    assert [(error["loc"], error["code"]) for error in document["errors"]] == [(loc, code)]
    is_problem(admin.get("/v1/scenarios/bad"), 404, "scenario_not_found")


def test_one_retraining_at_a_time_and_a_queued_one_can_be_cancelled(admin: httpx.Client) -> None:
    started = admin.post("/v1/admin/retrain", json={"mode": "full", "reason": "a test"})
    assert started.status_code == 202, started.text
    job_id = started.json()["job_id"]
    assert started.headers["location"] == f"/v1/admin/jobs/{job_id}"
    second = admin.post("/v1/admin/retrain", json={"mode": "incremental"})
    assert is_problem(second, 409, "job_running")["job_id"] == job_id

    job = admin.get(f"/v1/admin/jobs/{job_id}").json()
    assert (job["state"], job["mode"], job["reason"]) == ("queued", "full", "a test")
    assert admin.get("/v1/admin/jobs").json()["jobs"][0] == job
    assert admin.post(f"/v1/admin/jobs/{job_id}/cancel").json()["state"] == "cancelled"
    is_problem(admin.post(f"/v1/admin/jobs/{job_id}/cancel"), 409, "job_finished")
    is_problem(admin.post("/v1/admin/jobs/nope/cancel"), 404, "job_not_found")


@pytest.mark.parametrize("body", [{}, {"mode": "quick"}, {"mode": "full", "force": True}])
def test_bad_retrain_calls(admin: httpx.Client, body: dict[str, object]) -> None:
    is_problem(admin.post("/v1/admin/retrain", json=body), 422)


def test_models_before_the_first_training(admin: httpx.Client) -> None:
    assert admin.get("/v1/admin/models").json() == {"models": [], "next_cursor": None}
    is_problem(admin.post("/v1/admin/models/rollback"), 409, "no_earlier_version")
    for body in (b"", b"{}", b'{"force": true}'):
        json_body = {"Content-Type": "application/json"}
        answer = admin.post("/v1/admin/models/nope/activate", content=body, headers=json_body)
        is_problem(answer, 404, "model_not_found")
    is_problem(admin.post("/v1/admin/models/nope/activate"), 404, "model_not_found")
    is_problem(admin.post("/v1/admin/models/nope/activate", content=b"x"), 415, "unsupported_media_type")
    is_problem(admin.post("/v1/admin/models/nope/activate", json={"force": "yes"}), 422, "wrong_type")


def test_health(service: Service) -> None:
    with service.client(key=None) as anyone:
        assert anyone.get("/healthz").json() == {"alive": True}
        ready = anyone.get("/readyz").json()
        assert (ready["postgres"], ready["redis"], ready["model_version"]) == ("up", "up", None)
        assert "duoscene_requests_total" in anyone.get("/metrics").text
        assert anyone.get("/docs").status_code == 200


HALVES = [{"name": "control", "share": 0.5}, {"name": "few", "share": 0.5, "overrides": {"n": 3}}]


def test_an_experiment_is_put_read_changed_and_ended(admin: httpx.Client, new_id: str) -> None:
    scenario, url = f"/v1/scenarios/{new_id}", f"/v1/admin/experiments/{new_id}"
    assert admin.put(scenario, json={"description": "To be tried."}).status_code == 200
    overrides = {
        "pins": [{"position": 2, "item_id": "a", "from": "2026-01-01T00:00:00Z", "until": None}], "n": 3,
        "exclude": {"purchased_days": 5.0, "seen_impressions": 0.0, "context_items": True},
    }  # fmt: skip
    variants = [
        {"name": "control", "share": 0.5, "overrides": {}},
        {"name": "few", "share": 0.25, "overrides": overrides},
    ]
    put = admin.put(url, json={"scenario": new_id, "variants": variants})
    assert put.status_code == 200, put.text
    assert put.json() == {"name": new_id, "scenario": new_id, "variants": variants}
    assert admin.put(url, json=put.json()).json() == put.json() == admin.get(url).json()
    assert put.json() in admin.get("/v1/admin/experiments?limit=1000").json()["experiments"]
    other = admin.put(f"{url}-again", json={"scenario": new_id, "variants": HALVES})
    assert new_id in is_problem(other, 409, "scenario_in_experiment")["detail"]
    assert admin.delete(url).status_code == 204
    for gone in (admin.delete(url), admin.get(url)):
        is_problem(gone, 404, "experiment_not_found")


def test_slates_say_their_variant(admin: httpx.Client, new_id: str) -> None:
    for n in range(5):
        assert admin.put(f"/v1/items/{new_id}-{n}", json={"title": f"Thing {n}"}).status_code < 300
    admin.put(f"/v1/scenarios/{new_id}", json={"description": "To be tried.", "sources": {"new": 1.0}, "n": 5})
    admin.put(f"/v1/admin/experiments/{new_id}", json={"scenario": new_id, "variants": HALVES})
    asked = [{"user_id": f"{new_id}-u{n}"} for n in range(8)] + [{"session_id": f"{new_id}-s{n}"} for n in range(8)]
    slates = [admin.get("/v1/recommendations", params={"scenario": new_id, **who}).json() for who in asked]
    assert {(slate["variant"], len(slate["items"])) for slate in slates} == {("control", 5), ("few", 3)}
    assert admin.get("/v1/recommendations", params={"scenario": new_id}).json()["variant"] is None
    ranked = {"scenario": new_id, "item_ids": [f"{new_id}-{n}" for n in range(5)], **asked[0]}
    assert len(admin.post("/v1/rank", json=ranked).json()["items"]) == 5
    admin.delete(f"/v1/admin/experiments/{new_id}")
    assert admin.get("/v1/recommendations", params={"scenario": new_id, **asked[0]}).json()["variant"] is None


@pytest.mark.parametrize(
    ("overrides", "days"),
    [
        ({"exclude": {"seen_impressions": 5}}, 0),
        ({"exclude": {"seen_impressions": 5, "purchased_days": 7}}, 7),
        ({"exclude": {"seen_impressions": 5}, "sources": {"new": 1}}, 30),
    ],
)
def test_a_variant_keeps_purchases_away_by_default_as_its_sources_say(
    admin: httpx.Client, new_id: str, overrides: dict[str, object], days: float
) -> None:
    """Those of the scenario, where it has none of its own: `repeat` brings back what was bought."""
    admin.put(f"/v1/scenarios/{new_id}", json={"description": "To buy again.", "sources": {"repeat": 1}})
    variants = [{"name": "a", "share": 1, "overrides": overrides}]
    put = admin.put(f"/v1/admin/experiments/{new_id}", json={"scenario": new_id, "variants": variants})
    assert put.json()["variants"][0]["overrides"]["exclude"]["purchased_days"] == days


@pytest.mark.parametrize(
    ("change", "code", "loc"),
    [
        ({"scenario": "no-such"}, "unknown_scenario", ["scenario"]),
        ({"variants": []}, "too_few", ["variants"]),
        ({"variants": [HALVES[0], HALVES[0]]}, "repeated_variant", []),
        ({"variants": [{**HALVES[0], "share": 0.6}, HALVES[1]]}, "too_many_shares", []),
        ({"variants": [{"name": "a", "share": 0}]}, "out_of_range", ["variants", 0, "share"]),
        ({"variants": [{"name": "a", "share": 1, "overrides": {"colour": 1}}]}, "unknown_field", ["variants", 0, "overrides", "colour"]),
        ({"variants": [{"name": "a", "share": 1, "overrides": {"description": "x"}}]}, "unknown_field", ["variants", 0, "overrides", "description"]),
        ({"variants": [{"name": "a", "share": 1, "overrides": {"sources": {"wishes": 1}}}]}, "unknown_source", ["variants", 0, "overrides", "sources", "wishes"]),
        ({"name": "another"}, "id_mismatch", ["name"]),
    ],
)  # fmt: skip
def test_bad_experiments(
    admin: httpx.Client, new_id: str, change: dict[str, object], code: str, loc: list[str | int]
) -> None:
    url = f"/v1/admin/experiments/{new_id}"
    problem = is_problem(admin.put(url, json={"scenario": "email", "variants": HALVES, **change}), 422, code)
    assert [error["loc"] for error in problem["errors"]] == [loc]
    is_problem(admin.get(url), 404)
