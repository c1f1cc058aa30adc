"""/v1/admin/models"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from app.api.auth import services_of
from app.api.cursors import cut_page, decode_cursor
from app.api.json_body import JsonBody
from app.api.operation import STORE_ERRORS, json_of, operation
from app.api.parameters import Page, Version
from app.api.replies import reply
from app.api.schemas.admin import ActivateBody, ModelList, ModelView
from app.errors import NotFound
from app.release.version import ModelVersion

router = APIRouter(prefix="/v1/admin/models", tags=["models"])
ABSENT = {404: ("model_not_found",), **STORE_ERRORS}


def view(version: ModelVersion) -> ModelView:
    return ModelView.model_validate(version)


@router.get("", **operation("list_models", "List model versions, newest first", scope="admin", returns=ModelList))
async def list_models(request: Request, page: Page) -> Response:
    rows = await services_of(request).versions.list_versions(after=decode_cursor(page.cursor), limit=page.limit + 1)
    versions, next_cursor = cut_page(rows, page.limit, lambda version: version.version)
    return reply(ModelList(models=[view(version) for version in versions], next_cursor=next_cursor))


@router.post(
    "/rollback",
    **operation(
        "rollback_model", "Go back to the version before", scope="admin", returns=ModelView, has_input=False,
        errors={409: ("no_earlier_version", "artifact_broken"), **STORE_ERRORS},
    ),
)  # fmt: skip
async def rollback_model(request: Request) -> Response:
    """The version that was live before this one is live again in every API process within 2 seconds."""
    return reply(view(await services_of(request).versions.rollback()))


@router.get(
    "/{version}", **operation("get_model", "Read a model version", scope="admin", returns=ModelView, errors=ABSENT)
)
async def get_model(request: Request, version: Version) -> Response:
    """Data window and counts, offline metrics beside the live model's, the gate's verdict and why."""
    found = await services_of(request).versions.get(version)
    if found is None:
        raise NotFound(f"there is no model version {version[:100]!r}", code="model_not_found")
    return reply(view(found))


@router.post(
    "/{version}/activate",
    **operation(
        "activate_model", "Make a version the live one", scope="admin", returns=ModelView, bodies=json_of(ActivateBody),
        is_body_required=False, errors={409: ("gate_rejected", "artifact_broken"), **ABSENT},
    ),
)  # fmt: skip
async def activate_model(
    request: Request, version: Version, body: Annotated[ActivateBody, Depends(JsonBody(ActivateBody, optional=True))]
) -> Response:
    """A hot swap in every API process within 2 seconds; no request fails or mixes versions. A version that the gate
    rejected needs `{"force": true}`; one whose files are not whole goes live never."""
    return reply(view(await services_of(request).versions.activate(version, force=body.force)))
