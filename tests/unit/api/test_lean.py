"""A lean route answers as FastAPI's own does, also by the short way."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

import pytest
from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.responses import JSONResponse, Response

from app.api.faults import install_fault_handlers
from app.api.lean import LeanRoute
from app.api.parameters import ItemId, refuse_repeated
from app.api.problems import HttpProblem
from app.api.schemas.recommendations import RecommendQuery, SimilarQuery
from app.api.shortcut import ShortcutMiddleware, short_routes


async def refuse_bots(request: Request) -> None:
    if request.headers.get("user-agent") == "bot":
        raise HttpProblem(403, "missing_scope", "not for bots")


def app_of(route_class: type[APIRoute], *, short: bool = False) -> FastAPI:
    router = app_router(route_class)
    app = FastAPI(title="t", version="1")
    app.include_router(router)
    install_fault_handlers(app)
    if short:
        app.add_middleware(ShortcutMiddleware, routes=router.routes)
    return app


def app_router(route_class: type[APIRoute]) -> APIRouter:
    router = APIRouter(route_class=route_class, dependencies=[Depends(refuse_bots)])

    @router.get("/slate", summary="A slate")
    async def slate(request: Request, query: Annotated[RecommendQuery, Query()]) -> Response:
        return JSONResponse(query.model_dump(mode="json"))

    @router.get("/strict", dependencies=[Depends(refuse_repeated)])
    async def strict(request: Request, query: Annotated[RecommendQuery, Query()]) -> Response:
        return JSONResponse(query.model_dump(mode="json"))

    @router.get("/items/{item_id}/similar")
    async def similar(request: Request, item_id: ItemId, query: Annotated[SimilarQuery, Query()]) -> Response:
        return JSONResponse({"item_id": item_id, **query.model_dump(mode="json")})

    @router.post("/plain")
    async def plain(request: Request) -> Response:
        return Response(await request.body())

    return router


LEAN, PLAIN = TestClient(app_of(LeanRoute)), TestClient(app_of(APIRoute))
SHORT = TestClient(app_of(LeanRoute, short=True))
NAMES = (
    "scenario",
    "user_id",
    "n",
    "context_items",
    "exclude_items",
    "diversity",
    "fields",
    "reasons",
    "no_such",
    "nor_this",
)
VALUES = st.one_of(
    st.sampled_from(["", "home", "10", "0", "0.5", "true", "nan", "300", "茶", "a\x00b", ".."]), st.text(max_size=5)
)
VALUES = VALUES.filter(lambda text: text.isprintable() or text == "a\x00b")


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=7),
    st.sampled_from(["/slate", "/strict", "/items/x/similar"]),
)
def test_every_query_is_answered_alike(pairs: list[tuple[str, str]], path: str) -> None:
    url = f"{path}?{urlencode(pairs)}"
    lean, short, theirs = (client.get(url) for client in (LEAN, SHORT, PLAIN))
    assert (lean.status_code, lean.json()) == (theirs.status_code, theirs.json())
    assert (short.status_code, short.json()) == (theirs.status_code, theirs.json())


def test_checks_come_before_the_query() -> None:
    answers = [client.get("/slate?n=x", headers={"user-agent": "bot"}) for client in (LEAN, SHORT, PLAIN)]
    assert [answer.status_code for answer in answers] == [403, 403, 403]
    assert [client.post("/plain", content=b"abc").content for client in (LEAN, SHORT)] == [b"abc", b"abc"]


def test_the_short_way_is_for_whole_paths_and_their_methods() -> None:
    ways = {path: route.path for (_, path), (route, _) in short_routes(app_router(LeanRoute).routes).items()}
    assert ways == {path: path for path in ("/slate", "/strict", "/plain")}
    answers = [client.delete("/slate") for client in (SHORT, PLAIN)]
    assert [(answer.status_code, answer.headers["allow"]) for answer in answers] == [(405, "GET, HEAD")] * 2


def test_the_document_is_the_same() -> None:
    assert app_of(LeanRoute).openapi() == app_of(APIRoute).openapi()


@pytest.mark.parametrize(("path", "is_lean"), [("/slate", True), ("/strict", True), ("/plain", True), ("/items/{item_id}/similar", False)])  # fmt: skip
def test_what_takes_more_is_left_to_fastapi(path: str, is_lean: bool) -> None:
    routes: dict[str, Any] = {}
    router = APIRouter(route_class=LeanRoute)

    @router.get("/slate")
    async def slate(request: Request, query: Annotated[RecommendQuery, Query()]) -> Response: ...

    @router.get("/strict", dependencies=[Depends(refuse_repeated)])
    async def strict(request: Request) -> Response: ...

    @router.post("/plain")
    async def plain(request: Request) -> Response: ...

    @router.get("/items/{item_id}/similar")
    async def similar(request: Request, item_id: ItemId) -> Response: ...

    routes = {route.path: route for route in router.routes if isinstance(route, LeanRoute)}
    assert (routes[path].get_route_handler().__module__ == "app.api.lean") is is_lean
