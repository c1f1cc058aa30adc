"""/v1/admin/experiments"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from app.api.auth import services_of
from app.api.cursors import page_of
from app.api.json_body import JsonBody
from app.api.operation import STORE_ERRORS, json_of, operation
from app.api.parameters import ExperimentName, Page, check_same_id
from app.api.replies import no_content, reply
from app.api.schemas.experiments import ExperimentList, ExperimentPut, ExperimentView
from app.api.services import ScenarioRegistry
from app.errors import NotFound

router = APIRouter(prefix="/v1/admin/experiments", tags=["experiments"])
ABSENT = {404: ("experiment_not_found",)}


def sources_of(scenarios: ScenarioRegistry, name: str) -> Collection[str]:
    """None of an unknown scenario, which is refused with the experiment."""
    try:
        return scenarios.get(name).sources
    except NotFound:
        return ()


@router.get("", **operation("list_experiments", "List A/B tests", scope="admin", returns=ExperimentList, errors={}))
async def list_experiments(request: Request, page: Page) -> Response:
    experiments = services_of(request).experiments.all()
    rows, next_cursor = page_of(experiments, page.limit, page.cursor, lambda experiment: experiment.name)
    return reply(ExperimentList(experiments=[ExperimentView.of(row) for row in rows], next_cursor=next_cursor))


@router.put(
    "/{name}",
    **operation(
        "put_experiment", "Begin or change an A/B test", scope="admin", returns=ExperimentView,
        bodies=json_of(ExperimentPut),
        errors={
            409: ("scenario_in_experiment",),
            422: ("unknown_scenario", "unknown_source", "unknown_fallback", "filter_unknown_field"),
            **STORE_ERRORS,
        },
    ),
)  # fmt: skip
async def put_experiment(
    request: Request, name: ExperimentName, body: Annotated[ExperimentPut, Depends(JsonBody(ExperimentPut))]
) -> Response:
    """Reaches every API process within 2 seconds. Who sees which variant is a hash of the experiment's name and the user, or the session
    where there is no user; slates say it in `variant`. A scenario is in one experiment at a time. `POST /v1/rank` takes no part, because
    what it orders leaves no impression to judge by."""
    check_same_id(body.name, name, "name")
    services = services_of(request)
    experiment = body.to_experiment(name, sources_of(services.scenarios, body.scenario))
    await services.experiments.put(experiment)
    return reply(ExperimentView.of(experiment))


@router.get(
    "/{name}", **operation("get_experiment", "Read an A/B test", scope="admin", returns=ExperimentView, errors=ABSENT)
)
async def get_experiment(request: Request, name: ExperimentName) -> Response:
    return reply(ExperimentView.of(services_of(request).experiments.get(name)))


@router.delete(
    "/{name}",
    **operation("delete_experiment", "End an A/B test", scope="admin", status=204, errors={**ABSENT, **STORE_ERRORS}),
)
async def delete_experiment(request: Request, name: ExperimentName) -> Response:
    """Everybody sees the scenario as it is again. What was shown keeps its `variant`, so the report still tells them apart."""
    if not await services_of(request).experiments.delete(name):
        raise NotFound(f"there is no experiment {name[:100]!r}", code="experiment_not_found")
    return no_content()
