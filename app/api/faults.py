"""Exception handlers of the app: everything a route or the framework raises becomes a problem document."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from app.api.problems import HttpProblem, internal_error, problem_of, unprocessable
from app.api.validation import parameter_errors
from app.errors import DuosceneError

CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed"}


def install_fault_handlers(app: FastAPI) -> None:
    for kind, handler in FAULTS.items():
        app.add_exception_handler(kind, handler)


async def answer_to(request: Request, error: Exception) -> Response:
    """For an error of a kind that stands in FAULTS. Raises it again where it is a fault of ours."""
    handler = next(FAULTS[kind] for kind in type(error).__mro__ if kind in FAULTS)
    return await handler(request, error)


async def on_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, HttpProblem)
    return error.response()


async def on_duoscene_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, DuosceneError)
    problem = problem_of(error)
    if problem.status == 500:
        raise error
    return problem.response()


async def on_validation_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return unprocessable(parameter_errors(error.errors())).response()


async def on_framework_error(request: Request, error: Exception) -> Response:
    """404 and 405 of the router."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return HttpProblem(404, "not_found", "there is nothing at this path; /docs lists what is there").response()
    if error.status_code == 405:
        allowed = ", ".join(_allowed_methods(request)) or dict(error.headers or {}).get("allow", "GET")
        detail = f"{request.method[:20]} is not possible here; allowed: {allowed}"
        return HttpProblem(405, "method_not_allowed", detail, headers={"Allow": allowed}).response()
    if error.status_code >= 500:
        return internal_error().response()
    code = CODES.get(error.status_code, "bad_request")
    return HttpProblem(error.status_code, code, str(error.detail)).response()


FAULTS: Mapping[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
    HttpProblem: on_problem,
    DuosceneError: on_duoscene_error,
    RequestValidationError: on_validation_error,
    HTTPException: on_framework_error,
}


def _allowed_methods(request: Request) -> Sequence[str]:
    """All methods of the path: the router itself names only those of the first route that matches. A path that stands in the document as
    it is (/v1/admin/models/rollback) is not taken for an id."""
    paths: dict[str, Any] = request.app.openapi()["paths"]
    path = request.scope["path"]
    templates = [path] if path in paths else [template for template in paths if is_like(template, path)]
    found = {method.upper() for template in templates for method in paths[template]}
    return sorted(found | {"HEAD"} if "GET" in found else found)


def is_like(template: str, path: str) -> bool:
    return re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)), path) is not None
