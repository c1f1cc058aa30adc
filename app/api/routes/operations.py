"""/healthz, /readyz, /metrics: for orchestrators, load balancers and Prometheus. Only /metrics may need a key, by the settings."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, Response

from app.api.auth import RequireScope, services_of
from app.api.operation import AUTH_ERRORS, operation
from app.api.problems import HttpProblem
from app.api.replies import reply
from app.api.schemas.operations import Alive, Ready, UpOrDown
from app.observability import metrics

router = APIRouter(tags=["operations"])


@router.get("/healthz", **operation("healthz", "Is the process alive?", returns=Alive, has_input=False, errors={}))
async def healthz() -> Response:
    return reply(Alive(alive=True))


@router.get(
    "/readyz",
    **operation("readyz", "Can it serve?", returns=Ready, has_input=False, errors={503: ("not_ready",)}),
)
async def readyz(request: Request) -> Response:
    """503 until the first slate can be served. A missing dependency alone does not make it unready: slates are still
    answered without it."""
    health = await services_of(request).health()
    metrics.record_model(health.model_version)
    state = Ready(
        ready=health.ready,
        model_version=health.model_version,
        postgres=up_or_down(health.postgres),
        redis=up_or_down(health.redis),
    )
    if not health.ready:
        raise HttpProblem(
            503,
            "not_ready",
            "no slate can be served yet: the catalogue has not been read; ask again in a moment",
            members=state.model_dump(),
            headers={"Retry-After": "1"},
        )
    return reply(state)


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    **operation("metrics", "Figures for Prometheus", has_input=False, errors=AUTH_ERRORS),
)
async def prometheus_metrics(request: Request) -> Response:
    """One aggregated answer, however many worker processes there are. Needs a key with the scope admin where
    DUOSCENE_METRICS_NEED_KEY is set, and none otherwise."""
    if services_of(request).settings.metrics_need_key:
        await RequireScope("admin")(request)
    return Response(metrics.exposition(), media_type=metrics.MEDIA_TYPE)


def up_or_down(is_up: bool) -> UpOrDown:
    return "up" if is_up else "down"
