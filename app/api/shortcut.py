"""The way of the hot routes: a lean route whose path holds no parameter is found by one look into a dictionary and answers by itself.
FastAPI's own way there, through middlewares, routers and exit stacks that such a route needs nothing of, takes longer than the answer.
"""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.faults import FAULTS, answer_to
from app.api.lean import Handler, LeanRoute

TRACED = "fastapi.telemetry"  # in the scope of a request that FastAPI is told to watch: it goes FastAPI's way


class ShortcutMiddleware:
    """To stand innermost. routes: of the app; the same path by another method, and all other paths, go on to it."""

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute]) -> None:
        self.app = app
        self._short = short_routes(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._short.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if found is None or scope.get("root_path") or TRACED in scope:
            await self.app(scope, receive, send)
            return
        scope["route"], handler = found
        request = Request(scope, receive, send)
        try:
            response = await handler(request)
        except tuple(FAULTS) as error:
            response = await answer_to(request, error)
        await response(scope, receive, send)


def short_routes(routes: Iterable[BaseRoute]) -> dict[tuple[str, str], tuple[LeanRoute, Handler]]:
    """(method, path) -> route."""
    return {
        (method, route.path): (route, handler)
        for route in routes
        if isinstance(route, LeanRoute) and not route.param_convertors and (handler := route.lean_handler())
        for method in route.methods or ()
    }
