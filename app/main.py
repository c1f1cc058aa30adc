"""The ASGI application. `uvicorn app.main:create_app --factory` serves it; tests may hand over their own services."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from time import monotonic
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.docs_page import install_docs
from app.api.edge import EdgeMiddleware
from app.api.faults import install_fault_handlers
from app.api.openapi import build_document
from app.api.raw_path import RawPathMiddleware
from app.api.routes import (
    experiments,
    feedback,
    items,
    jobs,
    keys,
    models,
    operations,
    pages,
    rank,
    recommendations,
    report,
    scenarios,
    users,
)
from app.api.services import Services
from app.api.shortcut import TRACED, ShortcutMiddleware
from app.errors import Unavailable
from app.observability.logs import configure_logging
from app.settings import Settings, load_settings

LOOK_SECONDS = 0.1
ROUTERS = (
    recommendations, pages, rank, feedback, items, users, scenarios, experiments, jobs, models, report, keys, operations,
)  # fmt: skip


def create_app(
    settings: Settings | None = None, services: Services | None = None, *, ready_seconds: float = 0.0
) -> FastAPI:
    """services: joined parts, used as they are; without them the lifespan opens and closes its own by `settings`.

    ready_seconds: the start waits so long until slates can be served from the live model, and fails after that; 0: it does not wait.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if services is not None:
            app.state.services = services
            yield
            return
        known = settings or load_settings()
        from app.wiring.services import open_services  # here: who brings services need not wait for torch

        configure_logging(known.log_level, known.log_format)
        async with open_services(known) as opened:
            if ready_seconds:
                await until_ready(opened, ready_seconds)
            app.state.services = opened
            yield

    app = _App(
        title="Duoscene",
        version=_version(),
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
    )
    for module in ROUTERS:
        app.include_router(module.router)
    install_docs(app)
    install_fault_handlers(app)
    app.add_middleware(ShortcutMiddleware, routes=[route for module in ROUTERS for route in module.router.routes])
    app.add_middleware(RawPathMiddleware)
    app.add_middleware(app.outermost)
    return app


async def until_ready(services: Services, seconds: float) -> None:
    """Also until the live model and the encoder are there: who waits is to replace a process that has them. Raises Unavailable."""
    until = monotonic() + seconds
    while not (await services.health()).complete:
        if monotonic() > until:
            raise Unavailable(f"catalogue, live model and encoder could not be read within {seconds:.0f} s")
        await asyncio.sleep(LOOK_SECONDS)


class _App(FastAPI):
    """Requests go straight to our outermost middleware. What FastAPI and Starlette put around it (telemetry, a limit of bodies, a page for
    exceptions that it lets nobody see) then only hands them on, for a tenth of the cost of HTTP."""

    _edge: EdgeMiddleware | None = None
    _watches: bool | None = None

    def outermost(self, app: ASGIApp) -> ASGIApp:
        """To be added as the last middleware."""
        self._edge = EdgeMiddleware(app)
        return self._edge

    def _is_watched(self) -> bool:
        """Whether telemetry is configured: asked at the first request, because it may be as late as the start of the process."""
        if self._watches is None:
            self._watches = self._native_telemetry.enabled()
        return self._watches

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_plain = scope["type"] == "http" and not scope.get("root_path") and TRACED not in scope
        if self._edge is None or not is_plain or self._is_watched():
            await super().__call__(scope, receive, send)
            return
        scope["app"] = self
        await self._edge(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = build_document(self)
        return self.openapi_schema


def _version() -> str:
    try:
        return version("duoscene")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0.0.0+checkout"
