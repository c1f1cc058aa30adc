"""The document is complete, and its examples are what it says they are."""

import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from app.main import create_app

DOCUMENT = create_app().openapi()
IDS = {
    "recommend", "recommend_get", "recommend_next", "recommend_page", "rank_items", "similar_items",
    "send_feedback", "retract_feedback",
    "list_items", "bulk_upsert_items", "put_item", "patch_item", "get_item", "delete_item",
    "list_users", "bulk_upsert_users", "put_user", "patch_user", "get_user", "delete_user", "merge_user",
    "export_user", "get_taste",
    "list_scenarios", "put_scenario", "get_scenario", "delete_scenario",
    "start_retrain", "list_jobs", "get_job", "cancel_job",
    "list_models", "get_model", "activate_model", "rollback_model",
    "put_experiment", "get_experiment", "list_experiments", "delete_experiment", "get_report",
    "create_key", "list_keys", "revoke_key", "healthz", "readyz", "metrics",
}  # fmt: skip
OPEN = {"healthz", "readyz", "metrics"}


def operations() -> dict[str, dict[str, Any]]:
    return {operation["operationId"]: operation for path in DOCUMENT["paths"].values() for operation in path.values()}


def validator(schema: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator({**schema, "components": DOCUMENT["components"]}, validate_formats=True)


def media_types(operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for part in (operation.get("requestBody", {}), *operation["responses"].values()):
        yield from part.get("content", {}).items()


def examples_of(content: dict[str, Any]) -> list[Any]:
    return [
        *([content["example"]] if "example" in content else []),
        *(e["value"] for e in content.get("examples", {}).values()),
    ]


def test_operation_ids_are_the_promised_ones() -> None:
    assert set(operations()) == IDS


@pytest.mark.parametrize("operation_id", sorted(IDS))
def test_every_operation_says_what_it_does_and_what_can_go_wrong(operation_id: str) -> None:
    operation = operations()[operation_id]
    assert operation["summary"]
    assert operation["tags"]
    statuses = set(operation["responses"])
    assert "500" in statuses
    if operation_id in OPEN:
        assert operation["security"] == []
    else:
        ((scopes,),) = [list(requirement.values()) for requirement in operation["security"]]
        assert scopes[0] in ("recommend", "feedback", "catalog", "admin")
        assert {"401", "403"} <= statuses
    if "requestBody" in operation:
        assert {"400", "413", "415", "422"} <= statuses
    if operation.get("parameters"):
        assert "422" in statuses
    for status, response in operation["responses"].items():
        assert "X-Request-Id" in response["headers"]
        if status >= "400":
            assert list(response["content"]) == ["application/problem+json"]
            assert re.search(r"Codes: `\w+`", response["description"])


@pytest.mark.parametrize("operation_id", sorted(IDS))
def test_every_body_has_an_example_that_fits_its_schema(operation_id: str) -> None:
    for media_type, content in media_types(operations()[operation_id]):
        if media_type.startswith("text/"):
            continue
        found = examples_of(content)
        assert found, f"no example of {media_type}"
        for example in found:
            validator(content["schema"]).validate(example)


@pytest.mark.parametrize("operation_id", sorted(IDS))
def test_parameters_have_a_schema_and_their_examples_fit(operation_id: str) -> None:
    for parameter in operations()[operation_id].get("parameters", []):
        schema = parameter["schema"]
        assert parameter["in"] == "query" or schema.get("examples") or parameter.get("example"), parameter["name"]
        for example in schema.get("examples", []):
            validator(schema).validate(example)


def test_nothing_of_the_framework_is_left_and_every_reference_leads_somewhere() -> None:
    text = repr(DOCUMENT)
    assert "HTTPValidationError" not in text
    assert "$defs" not in text
    names = set(re.findall(r"#/components/schemas/([\w.]+)", text))
    assert names == set(DOCUMENT["components"]["schemas"]) or names < set(DOCUMENT["components"]["schemas"])


def test_the_scopes_are_described() -> None:
    (scheme,) = DOCUMENT["components"]["securitySchemes"].values()
    assert scheme["type"] == "http"
    for scope in ("recommend", "feedback", "catalog", "admin"):
        assert f"`{scope}`" in scheme["description"]
