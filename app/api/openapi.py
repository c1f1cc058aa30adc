"""The OpenAPI document: FastAPI's, with the request bodies, the security scheme, examples and headers it cannot know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from app.api.links import links_of
from app.api.operation import SECURITY_SCHEME
from app.api.schemas.fields import PatchBody, View
from app.api.schemas.operations import Problem

METHODS = ("get", "put", "post", "patch", "delete")
REFERENCE = "#/components/schemas/"
DESCRIPTION = """
Recommendations for any storefront: ask for a slate in a scenario, send back what shoppers click and buy.

- **Ids** are opaque strings of 1 to 256 characters without control characters. In a path an id is one percent-encoded
  segment: `a%2Fb` is the item `a/b`.
- **Times** are RFC 3339 with an offset.
- **Errors** are `application/problem+json` (RFC 9457) with a stable `code`; for bad fields `errors` says where.
- **Unknown fields** are refused, so that a typo never passes silently. In a request null means left out; only in a PATCH
  it clears the field.
- **Filters**: `{"field": "price", "lt": 50}` with `eq ne lt lte gt gte in not_in contains exists`, combined by `and`,
  `or`, `not`. Fields are the item's properties, `attributes.<name>` and `age_days`. A value may refer to the viewed
  item: `{"field": "brand", "ne": {"context_item": "brand"}}`.
- Every response carries `X-Request-Id` (the caller's, if it sent one).
"""
TAGS = [
    {"name": "recommendations", "description": "What to show"},
    {"name": "feedback", "description": "What shoppers did"},
    {"name": "items", "description": "The catalogue"},
    {"name": "users", "description": "Who they are, as far as the shop says"},
    {"name": "scenarios", "description": "Placements with a purpose"},
    {"name": "experiments", "description": "A/B tests of a scenario"},
    {"name": "training", "description": "Retraining jobs"},
    {"name": "models", "description": "Model versions: the live one, activation, rollback"},
    {"name": "report", "description": "How placements, variants and models do"},
    {"name": "keys", "description": "API keys"},
    {"name": "operations", "description": "Health and metrics"},
]
SECURITY = {
    "type": "http",
    "scheme": "bearer",
    "description": "`Authorization: Bearer <key>`. A key has scopes: `recommend` (slates), `feedback` (events), "
    "`catalog` (items and users), `admin` (everything, and scenarios, experiments, training, models, report, keys).",
}
REQUEST_ID = {
    "description": "The caller's X-Request-Id, else a new one; it stands in the logs",
    "schema": {"type": "string"},
}
RETRY_AFTER = {"description": "Whole seconds", "schema": {"type": "integer"}}
CHALLENGE = {"description": "What kind of key is needed", "schema": {"type": "string"}}


def build_document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title="Duoscene", version=app.version, description=DESCRIPTION.strip(), routes=app.routes, tags=TAGS
    )
    schemas: dict[str, Any] = document.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = Problem.model_json_schema(ref_template=REFERENCE + "{model}")
    operations = list(operations_of(document))
    for operation in operations:
        for content in operation.get("requestBody", {}).get("content", {}).values():
            content["schema"] = _hoist(content["schema"], schemas)
    _hoist_nested(schemas)
    _restore_examples(schemas)
    for operation in operations:
        for status, response in operation["responses"].items():
            response["headers"] = _headers(status)
            if links := links_of(operation["operationId"], int(status)):
                response["links"] = links
        for part in (operation.get("requestBody", {}), *operation["responses"].values()):
            for content in part.get("content", {}).values():
                _copy_example(content, schemas)
    document["components"]["securitySchemes"] = {SECURITY_SCHEME: SECURITY}
    return document


def operations_of(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in document["paths"].values():
        for method in METHODS:
            if method in path:
                yield path[method]


def _hoist(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """Move a schema with a title, and all its $defs, to the components; what stays is a reference."""
    for name, definition in schema.pop("$defs", {}).items():
        schemas.setdefault(name, definition)
    for key in ("anyOf", "oneOf"):
        if key in schema:
            schema[key] = [_hoist(part, schemas) for part in schema[key]]
    if schema.get("type") != "object" or "title" not in schema:
        return schema
    schemas.setdefault(schema["title"], schema)
    return {"$ref": REFERENCE + schema["title"]}


def _hoist_nested(schemas: dict[str, Any]) -> None:
    for schema in list(schemas.values()):
        for name, definition in schema.pop("$defs", {}).items():
            schemas.setdefault(name, definition)


def _restore_examples(schemas: dict[str, Any]) -> None:
    """FastAPI drops every null of the document, those inside examples too."""
    for model in _all_models(PatchBody) + _all_models(View):
        if model.__name__ in schemas and "examples" in _extra(model):
            schemas[model.__name__]["examples"] = _extra(model)["examples"]


def _all_models(root: type[BaseModel]) -> list[type[BaseModel]]:
    return [root, *(found for model in root.__subclasses__() for found in _all_models(model))]


def _extra(model: type[BaseModel]) -> dict[str, Any]:
    extra = model.model_config.get("json_schema_extra")
    return extra if isinstance(extra, dict) else {}


def _copy_example(content: dict[str, Any], schemas: dict[str, Any]) -> None:
    """The model's example stands beside the media type too, where viewers and generators look for it."""
    schema = content.get("schema", {})
    examples: dict[str, Any] = {}
    for choice in schema.get("anyOf", [schema]):
        name = choice.get("$ref", "").removeprefix(REFERENCE)
        for example in schemas.get(name, choice).get("examples", ())[:1]:
            examples[name or "list"] = example
    if len(examples) == 1:
        content["example"] = next(iter(examples.values()))
    elif examples:
        content["examples"] = {name: {"value": example} for name, example in examples.items()}


def _headers(status: str) -> dict[str, Any]:
    headers: dict[str, Any] = {"X-Request-Id": REQUEST_ID}
    if status == "401":
        headers["WWW-Authenticate"] = CHALLENGE
    if status in ("429", "503"):
        headers["Retry-After"] = RETRY_AFTER
    return headers
