"""How a route is declared: one call gives it its id, scope, answers and errors, in the code and in the document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import Depends
from pydantic import BaseModel

from app.access.keys import Scope
from app.api.auth import RequireScope
from app.api.json_body import JSON
from app.api.parameters import refuse_repeated
from app.api.problems import MEDIA_TYPE

SECURITY_SCHEME = "key"
Codes = Sequence[str]

BODY_ERRORS: Mapping[int, Codes] = {
    400: ("malformed_json", "invalid_utf8", "duplicate_key", "invalid_query"),
    413: ("body_too_large",),
    415: ("unsupported_media_type",),
}
AUTH_ERRORS: Mapping[int, Codes] = {
    401: ("missing_key", "unknown_key"), 403: ("missing_scope",), 429: ("rate_limited",),
}  # fmt: skip
COMMON_ERRORS: Mapping[int, Codes] = {400: ("invalid_query",), 500: ("internal_error",)}
STORE_ERRORS: Mapping[int, Codes] = {503: ("store_unavailable",)}


def operation(
    operation_id: str,
    summary: str,
    *,
    scope: Scope | None = None,
    returns: type[BaseModel] | None = None,
    status: int = 200,
    bodies: Mapping[str, Any] | None = None,
    is_body_required: bool = True,
    has_input: bool = True,
    errors: Mapping[int, Codes] = STORE_ERRORS,
) -> dict[str, Any]:
    """Keyword arguments of a route decorator.

    bodies: media type -> pydantic model, several of them as a tuple, or JSON schema; for the document (the route reads the body itself).
    has_input: there are parameters or a body that can be wrong (422).
    errors: status -> codes, beside those every such route can give.
    """
    codes: dict[int, Codes] = dict(COMMON_ERRORS)
    codes.update(AUTH_ERRORS if scope else {})
    codes.update(BODY_ERRORS if bodies else {})
    codes.update({422: ("invalid_request",)} if has_input else {})
    for at, more in errors.items():
        codes[at] = (*codes.get(at, ()), *more)
    if scope:
        codes[503] = (*codes.get(503, ()), "overloaded")
    document: dict[str, Any] = {"security": [{SECURITY_SCHEME: [scope]}] if scope else []}
    if bodies:
        content = {media: {"schema": _schema(body)} for media, body in bodies.items()}
        document["requestBody"] = {"required": is_body_required, "content": content}
    return {
        "operation_id": operation_id,
        "summary": summary,
        "status_code": status,
        "response_model": returns,
        "response_description": HTTPStatus(status).phrase,
        "dependencies": [
            *([Depends(RequireScope(scope))] if scope else []),
            *([Depends(refuse_repeated)] if has_input and not bodies else []),
        ],
        "responses": {at: problem_response(at, codes[at]) for at in sorted(codes)},
        "openapi_extra": document,
    }


def json_of(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    return {JSON: model}


def _schema(body: Any) -> dict[str, Any]:
    """Inline, with its $defs; `openapi` moves them to the components."""
    if isinstance(body, tuple):
        return {"anyOf": [_schema(choice) for choice in body]}
    if isinstance(body, type) and issubclass(body, BaseModel):
        return body.model_json_schema(ref_template="#/components/schemas/{model}")
    schema: dict[str, Any] = body
    return schema


def problem_response(status: int, codes: Codes) -> dict[str, Any]:
    title = HTTPStatus(status).phrase
    example: dict[str, Any] = {
        "type": f"urn:duoscene:problem:{codes[0]}",
        "title": title,
        "status": status,
        "detail": "What was wrong, with which value, and what to do.",
        "code": codes[0],
    }
    if status == 422:
        example["errors"] = [
            {"loc": ["n"], "code": "out_of_range", "detail": "Input should be less than or equal to 200"}
        ]
    return {
        "description": f"{title}. Codes: {', '.join(f'`{code}`' for code in codes)}",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}},
    }
