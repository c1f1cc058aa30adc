"""/v1/pages: all slates of a page in one call."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response
from ulid import ULID

from app.api.auth import caller_of, services_of
from app.api.json_body import JsonBody
from app.api.operation import json_of, operation
from app.api.problems import unprocessable
from app.api.replies import reply_raw
from app.api.routes.recommendations import ERRORS, check_scopes, count_slate, slate_document
from app.api.schemas.pages import PageBody, PageView

router = APIRouter(prefix="/v1/pages", tags=["recommendations"])
read_body = JsonBody(PageBody)


@router.post(
    "",
    **operation(
        "recommend_page", "Recommend all slates of a page", scope="recommend", returns=PageView,
        bodies=json_of(PageBody), errors=ERRORS,
    ),
)  # fmt: skip
async def recommend_page(request: Request) -> Response:
    """Up to 20 slates for one shopper, by one model. No item is in two of them: the first slate chooses first, a later one
    takes what is left. Each has its own `recommendation_id` and `next_cursor`; what follows a slate repeats nothing of the page."""
    body = await read_body(request)
    if faults := body.faults():
        raise unprocessable(faults)
    requests = body.to_requests()
    check_scopes(request, requests[0])
    slates = await services_of(request).recommender.recommend_page(requests, caller_of(request).key_id)
    documents = {}
    for asked, slate_request, slate in zip(body.slates, requests, slates, strict=True):
        count_slate(slate, slate_request)
        documents[asked.name] = slate_document(slate, with_fields=bool(slate_request.fields))
    return reply_raw({"page_id": str(ULID()), "slates": documents})
