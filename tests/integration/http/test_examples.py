"""Every example of the OpenAPI document works when it is sent, and every answer fits the schema it promises."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import httpx
import jsonschema_rs
import pytest

METHODS = ("get", "put", "post", "patch", "delete")
ORDER = (
    "bulk_upsert_items", "put_item", "patch_item", "get_item", "list_items",
    "bulk_upsert_users", "put_user", "patch_user", "get_user", "list_users",
    "send_feedback", "recommend", "recommend_get", "recommend_page", "rank_items", "similar_items", "merge_user", "retract_feedback",
    "export_user", "get_taste",
    "put_scenario", "get_scenario", "list_scenarios", "delete_scenario",
    "put_experiment", "get_experiment", "list_experiments", "delete_experiment",
    "create_key", "list_keys", "list_jobs", "list_models", "get_report",
    "delete_user", "delete_item", "healthz", "readyz", "metrics",
)  # fmt: skip
ELSEWHERE = {  # their ids are not known before; see test_admin, test_pages
    "recommend_next", "start_retrain", "get_job", "cancel_job", "get_model", "activate_model", "rollback_model", "revoke_key",
}  # fmt: skip


@pytest.fixture(scope="module")
def document(admin: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = admin.get("/openapi.json").json()
    return found


def test_every_example_works(admin: httpx.Client, document: dict[str, Any]) -> None:
    operations = {
        operation["operationId"]: (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method in METHODS
    }
    assert set(operations) == {*ORDER, *ELSEWHERE}
    for operation_id in ORDER:
        method, path, operation = operations[operation_id]
        for content_type, example in request_examples(operation):
            body = example if isinstance(example, str) else json.dumps(example)
            headers = {"Content-Type": content_type} if content_type else {}
            response = admin.request(
                method, *filled(path, operation), content=body if content_type else None, headers=headers
            )
            check_answer(operation_id, operation, response, document)


def filled(path: str, operation: dict[str, Any]) -> tuple[str]:
    """The url with the examples of its parameters."""
    query = []
    for parameter in operation.get("parameters", ()):
        for example in parameter["schema"].get("examples", ())[:1]:
            if parameter["in"] == "path":
                path = path.replace(f"{{{parameter['name']}}}", quote(example, safe=""))
            else:
                query += [(parameter["name"], value) for value in (example if isinstance(example, list) else [example])]
    return (str(httpx.URL(path, params=query)) if query else path,)


def request_examples(operation: dict[str, Any]) -> list[tuple[str, Any]]:
    contents = operation.get("requestBody", {}).get("content", {})
    examples = [
        (media_type, example)
        for media_type, content in contents.items()
        for example in [content.get("example"), *(e["value"] for e in content.get("examples", {}).values())]
        if example is not None
    ]
    return examples or [("", None)]


def check_answer(
    operation_id: str, operation: dict[str, Any], response: httpx.Response, document: dict[str, Any]
) -> None:
    (promised,) = [status for status in operation["responses"] if status < "300"]
    assert response.status_code == int(promised), f"{operation_id}: {response.text}"
    content = operation["responses"][promised].get("content", {})
    if "application/json" not in content:
        return
    assert response.headers["content-type"] == "application/json"
    schema = {**content["application/json"]["schema"], "components": document["components"]}
    jsonschema_rs.Draft202012Validator(schema, validate_formats=True).validate(response.json())
    if "rejected" in response.json():
        assert response.json()["rejected"] == [], operation_id


def test_a_slate_holds_what_was_asked_for(admin: httpx.Client, document: dict[str, Any], new_id: str) -> None:
    admin.put(f"/v1/items/{new_id}", json={"title": "Only one", "brand": new_id, "attributes": {"colour": "red"}})
    body = {
        "scenario": "home", "n": 5, "diagnostics": True, "reasons": True, "fields": ["title", "price", "attributes.colour"],
        "filter": {"field": "brand", "eq": new_id}, "user": {"text": "I like red things."},
    }  # fmt: skip
    response = admin.post("/v1/recommendations", json=body)
    assert response.status_code == 200, response.text
    schema = {"$ref": "#/components/schemas/SlateView", "components": document["components"]}
    jsonschema_rs.Draft202012Validator(schema).validate(response.json())
    (item,) = response.json()["items"]
    assert (item["item_id"], item["position"]) == (new_id, 1)
    assert item["fields"] == {"title": "Only one", "price": None, "attributes.colour": "red"}
    told = response.json()["diagnostics"]
    assert told["num_items"] == told["num_allowed"] + sum(told["dropped"].values())
    assert [trace["item_id"] for trace in told["items"]] == [new_id]

    assert item["reason"]["text"] == "New in the shop"
    assert item["reason"]["evidence"] == [{"kind": "source", "share": 1.0, "source": "new"}]

    slim = admin.get("/v1/recommendations", params={"scenario": "home", "n": 1}).json()
    assert "diagnostics" not in slim
    assert not {"fields", "reason"} & slim["items"][0].keys()
