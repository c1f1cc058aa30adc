"""/v1/rank: the caller's own list in order."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.api.auth import services_of
from app.api.json_body import JsonBody
from app.api.operation import json_of, operation
from app.api.replies import reply_raw
from app.api.routes.recommendations import ERRORS, check_scopes, slate_document
from app.api.schemas.rank import RankBody, RankView

router = APIRouter(prefix="/v1/rank", tags=["recommendations"])
NOT_OF_A_RANKING = ("variant", "next_cursor")
read_body = JsonBody(RankBody)


@router.post(
    "",
    **operation(
        "rank_items", "Put a list of items in order", scope="recommend", returns=RankView, bodies=json_of(RankBody),
        errors=ERRORS,
    ),
)  # fmt: skip
async def rank_items(request: Request) -> Response:
    """The same items, best first for this shopper in this scenario: no item is left out because it was bought or seen. What
    cannot be shown is told apart. Nothing is recorded: send `impression` events for what you show."""
    body = await read_body(request)
    slate_request = body.to_request()
    check_scopes(request, slate_request)
    ranked = await services_of(request).recommender.rank_items(slate_request, body.unique_items())
    document = slate_document(ranked.slate, with_fields=bool(slate_request.fields))
    for name in NOT_OF_A_RANKING:
        del document[name]
    document |= {
        "unavailable_items": ranked.unavailable,
        "unknown_items": ranked.unknown,
        "filtered_items": ranked.filtered,
    }
    return reply_raw(document)
