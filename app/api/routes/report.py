"""/v1/admin/report"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.api.auth import services_of
from app.api.operation import operation
from app.api.replies import reply
from app.api.schemas.report import ReportQuery, ReportView

router = APIRouter(prefix="/v1/admin/report", tags=["report"])


@router.get("", **operation("get_report", "Read how slates do", scope="admin", returns=ReportView))
async def get_report(request: Request, query: Annotated[ReportQuery, Query()]) -> Response:
    """Of the slates that were shown in the window, whatever became of them since. An event counts for the slate whose
    `recommendation_id` it carries, if that slate holds its item; retracted events never count. An item counts once for each
    slate: shown, clicked (or put into the cart, or bought: some storefronts send no click then), bought. Where a storefront
    reports `impression` events of a slate, only what it reported or was acted on counts as shown. Revenue is the sum of all
    its purchases, by currency.

    Intervals (95 %) take shoppers as the independent units: the delta method over shoppers, for shares as Wilson's interval.
    What erased users did no longer counts, their slates still do."""
    return reply(ReportView.of(await services_of(request).reporter.report(query.length, query.dimensions)))
