"""Routes of the hot path: declared, documented and validated like any other, but asked without FastAPI's search for what to inject, which
takes as long as the whole rest of HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Iterable, Mapping
from typing import Any, get_origin

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from app.api.query_string import query_pairs

Handler = Callable[[Request], Awaitable[Response]]
Check = Callable[[Request], Awaitable[None]]


class LeanRoute(APIRoute):
    """For endpoints that take the request and perhaps a model of its query parameters (`Annotated[Model, Query()]`) and return a
    Response, under dependencies that take the request alone. Every other route of the router works as ever."""

    def get_route_handler(self) -> Any:
        return self.lean_handler() or super().get_route_handler()

    def lean_handler(self) -> Handler | None:
        """None where the endpoint takes more than that."""
        checks = self._checks()
        of_query = self.dependant.query_params
        if checks is None or takes_more(self.dependant) or len(of_query) > 1:
            return None
        if not of_query:
            return handler(self.endpoint, checks)
        model = of_query[0].field_info.annotation
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return None
        return handler(self.endpoint, checks, of_query[0].name, model)

    def _checks(self) -> list[Check] | None:
        """None where one of them wants more than the request."""
        wanted = self.dependant.dependencies
        if any(takes_more(one) or one.query_params or one.dependencies or not one.request_param_name for one in wanted):
            return None
        return [one.call for one in wanted if one.call is not None]


def takes_more(dependant: Dependant) -> bool:
    """Than the request and parameters of the query."""
    return bool(
        dependant.path_params or dependant.header_params or dependant.cookie_params or dependant.body_params
        or dependant.response_param_name or dependant.background_tasks_param_name or dependant.security_scopes_param_name
    )  # fmt: skip


def handler(
    endpoint: Callable[..., Any], checks: list[Check], name: str = "", model: type[BaseModel] | None = None
) -> Handler:
    fields = model.model_fields if model else {}
    lists = frozenset(field for field, info in fields.items() if get_origin(info.annotation) is list)

    async def answer(request: Request) -> Response:
        for check in checks:
            await check(request)
        if model is None:
            response: Response = await endpoint(request)
        else:
            values = query_values(fields, lists, query_pairs(request.scope))
            response = await endpoint(request, **{name: validated(model, values)})
        return response

    return answer


def query_values(fields: Container[str], lists: frozenset[str], given: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Of a parameter that is given twice the last value; all of one that is a list, and of one the model does not know, to be told of."""
    values: dict[str, Any] = {}
    unknown: dict[str, list[str]] = {}
    for key, value in given:
        if key in lists:
            values.setdefault(key, []).append(value)
        elif key in fields:
            values[key] = value
        else:
            unknown.setdefault(key, []).append(value)
    if not unknown:
        return values
    return values | {key: several[0] if len(several) == 1 else several for key, several in unknown.items()}


def validated(model: type[BaseModel], values: Mapping[str, Any]) -> BaseModel:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        found = error.errors(include_url=False)
        raise RequestValidationError([{**one, "loc": ("query", *one["loc"])} for one in found]) from error
