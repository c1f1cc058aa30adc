"""/v1/recommendations and /v1/items/{item_id}/similar. Hot: one pass of validation in, one of orjson out."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.api.auth import caller_of, require_scope, services_of
from app.api.json_body import JsonBody
from app.api.operation import json_of, operation
from app.api.parameters import ItemId
from app.api.replies import reply_raw
from app.api.schemas.recommendations import RecommendBody, RecommendQuery, SimilarQuery, SlateView
from app.observability import metrics
from app.serving.reasons.reason import Reason
from app.serving.slate import Slate, SlateItem, SlateRequest

router = APIRouter(prefix="/v1", tags=["recommendations"])
ERRORS = {404: ("scenario_not_found",), 422: ("filter_unknown_field", "filter_bad_value"), 503: ("unavailable",)}
SIMILAR = "similar"
read_body = JsonBody(RecommendBody)


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
    slate_request = SlateRequest(
        scenario=SIMILAR,
        user_id=query.user_id,
        session_id=query.session_id,
        context_items=(item_id,),
        n=query.n,
        fields=tuple(query.fields),
    )
    return await _answer(request, slate_request)


async def _answer(request: Request, slate_request: SlateRequest) -> Response:
    if slate_request.diagnostics:
        require_scope(caller_of(request), "admin", "diagnostics")
    slate = await services_of(request).recommender.recommend(slate_request)
    metrics.record_slate(slate.scenario, slate.model_version, slate.fallbacks, slate.degraded)
    return reply_raw(slate_document(slate, with_fields=bool(slate_request.fields)))


def slate_document(slate: Slate, *, with_fields: bool) -> dict[str, Any]:
    """SlateView as plain data."""
    document: dict[str, Any] = {
        "recommendation_id": slate.recommendation_id,
        "scenario": slate.scenario,
        "model_version": slate.model_version,
        "variant": slate.variant,
        "items": [_item_document(item, with_fields=with_fields) for item in slate.items],
        "fallbacks": slate.fallbacks,
        "degraded": slate.degraded,
    }
    if slate.diagnostics is not None:
        document["diagnostics"] = slate.diagnostics
    return document


def _item_document(item: SlateItem, *, with_fields: bool) -> dict[str, Any]:
    document: dict[str, Any] = {
        "item_id": item.item_id,
        "position": item.position,
        "score": item.score,
        "sources": item.sources,
        "cold": item.cold,
        "explored": item.explored,
    }
    if with_fields:
        document["fields"] = item.fields
    if item.reason is not None:
        document["reason"] = reason_document(item.reason)
    return document


def reason_document(reason: Reason) -> dict[str, Any]:
    """ReasonView as plain data; what a kind of evidence does not have is left out."""
    evidence = [{name: value for name, value in asdict(e).items() if value is not None} for e in reason.evidence]
    return {"text": reason.text, "evidence": evidence}
