"""/v1/recommendations, its continuation, and /v1/items/{item_id}/similar. Hot: one pass of validation in, one of orjson out."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.api.auth import caller_of, require_scope, services_of
from app.api.json_body import JsonBody
from app.api.lean import LeanRoute
from app.api.operation import json_of, operation
from app.api.parameters import ItemId
from app.api.replies import reply_raw
from app.api.schemas.recommendations import NextBody, RecommendBody, RecommendQuery, SimilarQuery, SlateView
from app.observability import metrics
from app.serving.reasons.reason import Reason
from app.serving.slate import Slate, SlateRequest

router = APIRouter(prefix="/v1", tags=["recommendations"], route_class=LeanRoute)
ERRORS = {
    404: ("scenario_not_found", "model_not_found"),
    409: ("model_unusable",),
    422: ("filter_unknown_field", "filter_bad_value"),
    503: ("unavailable", "store_unavailable"),
}
read_body = JsonBody(RecommendBody)
read_next = JsonBody(NextBody)


@router.post(
    "/recommendations",
    **operation(
        "recommend", "Recommend a slate", scope="recommend", returns=SlateView, bodies=json_of(RecommendBody),
        errors=ERRORS,
    ),
)  # fmt: skip
async def recommend(request: Request) -> Response:
    """What to show in a scenario, best first. An unknown user is a cold start, not an error; the slate is never empty
    while the catalogue, under the filter, holds an item. The impression is recorded by the service."""
    body = await read_body(request)
    return await _answer(request, body.to_request())


@router.get(
    "/recommendations",
    **operation(
        "recommend_get", "Recommend a slate, by query parameters", scope="recommend", returns=SlateView, errors=ERRORS
    ),
)
async def recommend_get(request: Request, query: Annotated[RecommendQuery, Query()]) -> Response:
    """The same as POST, for the plain fields."""
    return await _answer(request, query.to_request())


@router.get(
    "/items/{item_id}/similar",
    **operation("similar_items", "Items like this one", scope="recommend", returns=SlateView, errors=ERRORS),
)
async def similar_items(request: Request, item_id: ItemId, query: Annotated[SimilarQuery, Query()]) -> Response:
    """Shorthand for the scenario `similar` with the item as its context."""
    return await _answer(request, query.to_request(item_id))


@router.post(
    "/recommendations/next",
    **operation(
        "recommend_next", "The next slate of a list", scope="recommend", returns=SlateView, bodies=json_of(NextBody),
        errors={**ERRORS, 410: ("cursor_expired",), 422: ("bad_cursor",)},
    ),
)  # fmt: skip
async def recommend_next(request: Request) -> Response:
    """What follows the slate that `next_cursor` came with: the same request, with no item that the list has shown, until
    `next_cursor` is null because none is left. Each slate has its own `recommendation_id` and counts its positions from 1.
    A cursor is good for 30 minutes (410 later) and for the API key it was given to; sent again, it returns the same slate,
    without items that may no longer be shown."""
    body = await read_next(request)
    caller = caller_of(request).key_id
    slate, slate_request = await services_of(request).recommender.recommend_next(body.cursor, caller)
    count_slate(slate, slate_request)
    return reply_raw(slate_document(slate, with_fields=bool(slate_request.fields)))


async def _answer(request: Request, slate_request: SlateRequest) -> Response:
    check_scopes(request, slate_request)
    slate = await services_of(request).recommender.recommend(slate_request, caller_of(request).key_id)
    count_slate(slate, slate_request)
    return reply_raw(slate_document(slate, with_fields=bool(slate_request.fields)))


def check_scopes(request: Request, slate_request: SlateRequest) -> None:
    """Raises 403 for what only admins may ask."""
    for what in ("diagnostics", "model_version"):
        if getattr(slate_request, what):
            require_scope(caller_of(request), "admin", what)


def count_slate(slate: Slate, slate_request: SlateRequest) -> None:
    if slate_request.model_version is None:  # a preview is shown to no shopper
        metrics.record_slate(slate.scenario, slate.model_version, slate.fallbacks, slate.degraded)


def slate_document(slate: Slate, *, with_fields: bool) -> dict[str, Any]:
    """SlateView as plain data."""
    document: dict[str, Any] = {
        "recommendation_id": slate.recommendation_id,
        "scenario": slate.scenario,
        "model_version": slate.model_version,
        "variant": slate.variant,
        "items": [
            {
                "item_id": item.item_id,
                "position": item.position,
                "score": item.score,
                "sources": item.sources,
                "cold": item.cold,
                "explored": item.explored,
            }
            for item in slate.items
        ],
        "fallbacks": slate.fallbacks,
        "degraded": slate.degraded,
        "next_cursor": slate.next_cursor,
    }
    for item, shown in zip(slate.items, document["items"], strict=True):
        if with_fields:
            shown["fields"] = item.fields
        if item.reason is not None:
            shown["reason"] = reason_document(item.reason)
    if slate.interpreted_query is not None:
        document["interpreted_query"] = slate.interpreted_query
    if slate.diagnostics is not None:
        document["diagnostics"] = slate.diagnostics
    return document


def reason_document(reason: Reason) -> dict[str, Any]:
    """ReasonView as plain data; what a kind of evidence does not have is left out."""
    evidence = [{name: value for name, value in asdict(e).items() if value is not None} for e in reason.evidence]
    return {"text": reason.text, "evidence": evidence}
