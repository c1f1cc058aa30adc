"""The outermost layer: a request id and the security headers on every response, one log line and one count per request, HEAD as
GET without a body, an early no to more requests than can be answered in time, and no exception ever leaves as anything but a problem
document."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import HttpProblem, internal_error
from app.observability import metrics
from app.observability.logs import REQUEST_ID

SANE_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
CLIENT_GONE = 499  # in logs and metrics only; nobody is there to read it
UNMATCHED = "unmatched"
LOGGER = "duoscene.http"
log, lines = structlog.stdlib.get_logger(LOGGER), logging.getLogger(LOGGER)
HARDENED = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
NOTHING_LOADS = (
    b"content-security-policy",
    b"default-src 'none'; frame-ancestors 'none'",
)  # a page brings a policy of its own
NEVER_KEPT = (b"cache-control", b"no-store")  # answers hold what people bought and said
PROBES = ("/healthz", "/readyz", "/metrics")  # asked every few seconds for ever: not worth a line each
MAX_OPEN = 1_000  # requests to one resource that a process answers at once: the last of so many slates waits for a second or two


class EdgeMiddleware:
    """max_open: requests to one resource that are under way at once. Whoever comes beyond them is told so at once: what waits in this
    process, for Redis, for a draft or for a commit, is bounded by it, and events that wait for a slow database keep nobody from a slate."""

    def __init__(self, app: ASGIApp, max_open: int = MAX_OPEN) -> None:
        self.app = app
        self._max_open = max_open
        self._open: defaultdict[str, int] = defaultdict(int)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        method = scope["method"]
        if method == "HEAD":
            scope = {**scope, "method": "GET"}
        sender = _Sender(send, request_id_of(scope), has_body=method != "HEAD", is_api=is_api(scope))
        started = time.perf_counter()
        told = REQUEST_ID.set(sender.request_id)
        resource = resource_of(scope["path"])
        self._open[resource] += 1
        try:
            await self._answer(scope, receive, sender, is_too_much=self._open[resource] > self._max_open)
        finally:
            self._open[resource] -= 1
            if not self._open[resource]:
                del self._open[resource]
            _record(scope, method, sender.status, time.perf_counter() - started)
            REQUEST_ID.reset(told)

    async def _answer(self, scope: Scope, receive: Receive, sender: _Sender, *, is_too_much: bool) -> None:
        try:
            if is_too_much:
                raise overloaded(self._max_open)
            await self.app(scope, receive, sender)
        except ClientDisconnect:
            sender.status = CLIENT_GONE
        except HttpProblem as problem:
            await problem.response()(scope, receive, sender)
        except Exception:
            log.exception("request_failed", route=route_of(scope))
            if sender.status:  # half a response is out; the server closes the connection
                raise
            await internal_error().response()(scope, receive, sender)


def overloaded(max_open: int) -> HttpProblem:
    return HttpProblem(
        503, "overloaded",
        f"this process answers {max_open} requests of this kind already; wait as long as Retry-After says, or run more processes",
        headers={"Retry-After": "1"},
    )  # fmt: skip


class _Sender:
    """status: 0 until a response has started."""

    def __init__(self, send: Send, request_id: bytes, *, has_body: bool, is_api: bool) -> None:
        self._send = send
        self._has_body = has_body
        self._is_api = is_api
        self.request_id = request_id
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = self._completed(message.get("headers", ()))
        elif message["type"] == "http.response.body" and not self._has_body:
            message = {**message, "body": b""}
        await self._send(message)

    def _completed(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        given = [*headers, (b"x-request-id", self.request_id), *HARDENED]
        names = {name for name, _ in given}
        defaults = (NOTHING_LOADS, NEVER_KEPT) if self._is_api else (NOTHING_LOADS,)
        return [*given, *(header for header in defaults if header[0] not in names)]


def request_id_of(scope: Scope) -> bytes:
    """The caller's id where it is printable and short, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and SANE_REQUEST_ID.fullmatch(value):
            given: bytes = value
            return given
    return secrets.token_hex(16).encode()


def resource_of(path: str) -> str:
    """The first two segments: "/v1/items" of all that is below."""
    return "/".join(path.split("/", 3)[:3])


def is_api(scope: Scope) -> bool:
    path: str = scope["path"]
    return path.startswith("/v1/")


def route_of(scope: Scope) -> str:
    """The route's template, such as /v1/items/{item_id}: ids are no labels."""
    route: Any = scope.get("route")
    return getattr(route, "path", UNMATCHED)


def _record(scope: Scope, method: str, status: int, seconds: float) -> None:
    route = route_of(scope)
    known_method = method if method.isalpha() and len(method) <= 7 else "OTHER"
    metrics.record_request(known_method, route, status, seconds)
    level = logging.DEBUG if route in PROBES and status < 500 else logging.INFO
    if lines.isEnabledFor(level):
        log.log(level, "request", method=known_method, route=route, status=status, duration_ms=round(seconds * 1000, 2))
