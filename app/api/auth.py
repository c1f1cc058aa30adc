"""Who calls, and may they? Checked before a body is read."""

from __future__ import annotations

import math

from fastapi import Request

from app.access.key_ring import allows
from app.access.keys import ApiKey, Scope
from app.access.rate_limit import RateLimiter
from app.api.problems import HttpProblem
from app.api.services import Services

REALM = 'Bearer realm="duoscene"'
CALLER = "duoscene.caller"  # in the scope: who came through


def services_of(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


async def authenticate(request: Request) -> ApiKey:
    """The key of the request. Raises 401."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not secret:
        raise HttpProblem(
            401, "missing_key", "send a key: 'Authorization: Bearer <key>'", headers={"WWW-Authenticate": REALM}
        )
    keys = services_of(request).keys
    key = keys.find(secret) or await keys.find_anew(secret)
    if key is None:
        headers = {"WWW-Authenticate": f'{REALM}, error="invalid_token"'}
        raise HttpProblem(401, "unknown_key", "this key is unknown or was revoked", headers=headers)
    return key


def require_scope(key: ApiKey, scope: Scope, what: str = "this call") -> None:
    """Raises 403."""
    if not allows(key, scope):
        headers = {"WWW-Authenticate": f'{REALM}, error="insufficient_scope", scope="{scope}"'}
        raise HttpProblem(403, "missing_scope", f"{what} needs a key with the scope '{scope}'", headers=headers)


async def check_rate(limiter: RateLimiter, key: ApiKey) -> None:
    """Raises 429."""
    seconds = await limiter.seconds_to_wait(key)
    if seconds > 0:
        raise HttpProblem(
            429, "rate_limited", "this key makes more requests than it may; wait as long as Retry-After says",
            headers={"Retry-After": str(max(1, math.ceil(seconds)))},
        )  # fmt: skip


class RequireScope:
    """A FastAPI dependency: only callers whose key holds `scope` and is within its rate come through; see `caller_of`."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    async def __call__(self, request: Request) -> None:
        key = await authenticate(request)
        services = services_of(request)
        services.key_use.note(key)
        await check_rate(services.rate_limiter, key)
        require_scope(key, self.scope)
        request.scope[CALLER] = key


def caller_of(request: Request) -> ApiKey:
    """The key that `RequireScope` let through."""
    caller: ApiKey = request.scope[CALLER]
    return caller
