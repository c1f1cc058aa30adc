"""/v1/scenarios"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from app.api.auth import services_of
from app.api.cursors import page_of
from app.api.json_body import JsonBody
from app.api.operation import STORE_ERRORS, json_of, operation
from app.api.parameters import Page, ScenarioName, check_same_id
from app.api.replies import no_content, reply
from app.api.schemas.scenarios import ScenarioList, ScenarioPut, ScenarioView
from app.errors import NotFound
from app.scenarios.scenario import Scenario

router = APIRouter(prefix="/v1/scenarios", tags=["scenarios"])
ABSENT = {404: ("scenario_not_found",)}


def view(scenario: Scenario) -> ScenarioView:
    return ScenarioView.model_validate(scenario)


@router.get("", **operation("list_scenarios", "List scenarios", scope="admin", returns=ScenarioList, errors={}))
async def list_scenarios(request: Request, page: Page) -> Response:
    scenarios = services_of(request).scenarios.all()
    rows, next_cursor = page_of(scenarios, page.limit, page.cursor, lambda scenario: scenario.name)
    return reply(ScenarioList(scenarios=[view(scenario) for scenario in rows], next_cursor=next_cursor))


@router.put(
    "/{name}",
    **operation(
        "put_scenario", "Create or replace a scenario", scope="admin", returns=ScenarioView,
        bodies=json_of(ScenarioPut),
        errors={422: ("unknown_source", "unknown_fallback", "filter_unknown_field"), **STORE_ERRORS},
    ),
)  # fmt: skip
async def put_scenario(
    request: Request, name: ScenarioName, body: Annotated[ScenarioPut, Depends(JsonBody(ScenarioPut))]
) -> Response:
    """Reaches every API process within 2 seconds. What is left out gets its default."""
    check_same_id(body.name, name, "name")
    scenario = body.to_scenario(name)
    await services_of(request).scenarios.put(scenario)
    return reply(view(scenario))


@router.get(
    "/{name}", **operation("get_scenario", "Read a scenario", scope="admin", returns=ScenarioView, errors=ABSENT)
)
async def get_scenario(request: Request, name: ScenarioName) -> Response:
    return reply(view(services_of(request).scenarios.get(name)))


@router.delete(
    "/{name}",
    **operation("delete_scenario", "Delete a scenario", scope="admin", status=204, errors={**ABSENT, **STORE_ERRORS}),
)
async def delete_scenario(request: Request, name: ScenarioName) -> Response:
    """A ready-made scenario goes back to its default."""
    if not await services_of(request).scenarios.delete(name):
        raise NotFound(f"there is no scenario {name[:100]!r}", code="scenario_not_found")
    return no_content()
