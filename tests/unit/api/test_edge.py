"""What holds for every response, whichever route: request ids, problem documents, HEAD, Allow."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from opentelemetry.trace import NoOpTracer, Span, TracerProvider
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send
from structlog.testing import capture_logs

from app.api.edge import PROBES, EdgeMiddleware
from app.main import create_app
from app.observability import metrics

KEY = {"Authorization": "Bearer some-key"}


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """The app without services: enough for what happens before any route needs one."""
    transport = httpx.ASGITransport(create_app())
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        yield client


@pytest.mark.parametrize("path", ["/healthz", "/nope", "/v1/items/", "/openapi.json", "/v1/items/x"])
async def test_every_response_has_a_request_id(client: httpx.AsyncClient, path: str) -> None:
    first, second = await client.get(path), await client.get(path)
    assert first.headers["x-request-id"]
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


async def test_the_callers_request_id_is_kept_if_it_is_sane(client: httpx.AsyncClient) -> None:
    async def answered(request_id: bytes) -> str:
        return (await client.get("/healthz", headers={b"X-Request-Id": request_id})).headers["x-request-id"]

    assert await answered(b"order-4711/a") == "order-4711/a"
    for bad in (b"x" * 129, b"with space", b"", b"caf\xc3\xa9"):
        assert await answered(bad) != bad.decode()


@pytest.mark.parametrize(
    "path",
    [
        "/", "/v1", "/v1/items/", "/v1/items/a/similar/", "/v1/items/a/b", "/healthz/", "/v2/items", "//v1/items",
        "/v1/recommendations/last",
    ],
)  # fmt: skip
async def test_what_is_not_there_is_a_problem_document(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(path)
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == "not_found"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("OPTIONS", "/v1/items/x", "DELETE, GET, HEAD, PATCH, PUT"),
        ("POST", "/v1/items/a%2Fb", "DELETE, GET, HEAD, PATCH, PUT"),
        ("DELETE", "/v1/recommendations", "GET, HEAD, POST"),
        ("GET", "/v1/feedback", "POST"),
        ("HEAD", "/v1/feedback", "POST"),
        ("POST", "/healthz", "GET, HEAD"),
        ("BREW", "/v1/items", "GET, HEAD, POST"),
    ],
)
async def test_a_wrong_method_names_all_right_ones(
    client: httpx.AsyncClient, method: str, path: str, allow: str
) -> None:
    response = await client.request(method, path)
    assert response.status_code == 405
    assert response.headers["allow"] == allow
    assert method == "HEAD" or response.json()["code"] == "method_not_allowed"


async def test_head_is_get_without_a_body(client: httpx.AsyncClient) -> None:
    get, head = await client.get("/healthz"), await client.head("/healthz")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]


async def test_an_unexpected_error_is_a_problem_without_internals(client: httpx.AsyncClient) -> None:
    with capture_logs():  # whoever has not configured logging draws every traceback for seconds
        response = await client.get("/v1/items/x", headers=KEY)  # no services here, so the route fails inside
    assert response.status_code == 500
    assert response.json() == {
        "type": "urn:duoscene:problem:internal_error",
        "title": "Internal Server Error",
        "status": 500,
        "detail": "an unexpected error; it was logged with the X-Request-Id of this response",
        "code": "internal_error",
    }


@pytest.mark.parametrize("query", ["user_id=%FF", "a=%", "%zz=1", "a=%ED%A0%80"])
async def test_a_query_that_is_no_utf8_is_refused(client: httpx.AsyncClient, query: str) -> None:
    response = await client.get(f"/healthz?{query}")
    assert response.status_code == 400
    assert response.json()["code"] == "invalid_query"


async def test_metrics_count_by_route_template(client: httpx.AsyncClient) -> None:
    with capture_logs():
        await client.get("/v1/items/some-id", headers=KEY)
    text = metrics.exposition().decode()
    assert 'duoscene_requests_total{method="GET",route="/v1/items/{item_id}",status="500"}' in text
    assert "some-id" not in text


class Tracing(TracerProvider):
    """Remembers what it was asked to watch."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def get_tracer(self, *args: Any, **kwargs: Any) -> NoOpTracer:
        return NamingTracer(self.names)


class NamingTracer(NoOpTracer):
    def __init__(self, names: list[str]) -> None:
        self.names = names

    def start_span(self, name: str, *args: Any, **kwargs: Any) -> Span:
        self.names.append(name)
        return super().start_span(name, *args, **kwargs)


async def nothing() -> Message:
    return {"type": "websocket.connect"}


async def ignored(message: Message) -> None:
    pass


@pytest.mark.parametrize("path", ["/healthz", "/v1/recommendations"])
async def test_fastapi_watches_requests_where_telemetry_is_configured(path: str) -> None:
    """And answers them alike: our outermost middleware is found from inside its own as well. FastAPI configures it while the process
    starts, when the middlewares stand already."""
    tracing, watched, plain = Tracing(), create_app(), create_app()
    await watched({"type": "websocket", "path": "/none", "headers": [], "query_string": b""}, nothing, ignored)
    watched._native_telemetry.config["tracer_provider"] = tracing
    answers = []
    for app in (watched, plain):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver") as client:
            answers.append(await client.get(path, headers={"x-request-id": "a"}))
    assert (answers[0].status_code, answers[0].content, answers[0].headers) == (
        answers[1].status_code, answers[1].content, answers[1].headers,
    )  # fmt: skip
    assert tracing.names


async def test_beyond_the_most_open_requests_the_answer_is_a_no_at_once() -> None:
    """All that were taken are answered, other resources know nothing of it, and the next one is taken as soon as there is room."""
    gate, under_way = asyncio.Event(), asyncio.Semaphore(0)

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith("/v1/feedback"):
            under_way.release()
            await gate.wait()
        await Response("done")(scope, receive, send)

    transport = httpx.ASGITransport(EdgeMiddleware(slow, max_open=3))
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        taken = [asyncio.create_task(client.post(path)) for path in ("/v1/feedback", "/v1/feedback", "/v1/feedback/e1")]
        for _ in taken:
            await under_way.acquire()
        refused = await client.post("/v1/feedback")
        assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
        assert refused.headers["retry-after"] == "1"
        assert under_way.locked()  # nobody else came through
        for other in ("/v1/recommendations", *PROBES):
            assert (await client.get(other)).text == "done"
        gate.set()
        assert [answer.status_code for answer in await asyncio.gather(*taken)] == [200] * 3
        assert (await client.post("/v1/feedback")).status_code == 200
