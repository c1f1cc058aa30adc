"""Slates under load beside the bare route, as one core of the API gives them.

A measurement takes rounds in turn, reference and service, because a machine does not stay as fast as it was; what counts is the round
with the median ratio.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

import httpx
import orjson

from app.benchmarks.cores import Cores
from app.benchmarks.proc import cpu_seconds
from app.benchmarks.shop import RARE
from app.benchmarks.site import Service, Site
from app.benchmarks.wrk import Call, Expected, Load, run_wrk
from app.errors import DuosceneError
from app.types import Json

SLATE = 20
CHECKED = 50  # users whose slates must differ
LOADED = 0.8  # of the rate reached: where the latency is measured
FULL = Expected(200, (f'"position":{SLATE},',), wished='"degraded":[]')
PATH = "/v1/recommendations"


@dataclass(frozen=True, slots=True)
class Plan:
    """seconds: of one load. rounds: of each measurement."""

    seconds: float = 10.0
    rounds: int = 3
    connections: int = 32


@dataclass(frozen=True, slots=True)
class Measured:
    """cpu_ms: of the processes that answer, for a request."""

    load: Load
    cpu_ms: float


def slate_calls(site: Site, **more: str) -> list[Call]:
    """One of every user."""
    return [
        Call("GET", f"{PATH}?{urlencode({'scenario': 'home', 'user_id': user, 'n': SLATE, **more})}")
        for user in site.users
    ]


def filtered_calls(site: Site) -> list[Call]:
    """The filter keeps 1 % of the catalogue."""
    return [posted({"scenario": "home", "user_id": user, "n": SLATE, "filter": RARE}) for user in site.users]


def posted(body: Mapping[str, object]) -> Call:
    return Call("POST", PATH, orjson.dumps(body).decode())


def warm_up(site: Site, service: Service, calls: Sequence[Call]) -> bytes:
    """Every call once, each reply checked; the body of one. Raises DuosceneError when a slate is not full, not from the model, or
    not made for its user."""
    slates: list[tuple[str, ...]] = []
    body = b""
    with httpx.Client(base_url=service.url, headers=json_headers(site), trust_env=False, timeout=60) as client:
        for call in calls:
            answer = client.request(call.method, call.path, content=call.body or None)
            if answer.status_code != FULL.status:
                raise DuosceneError(f"{call.method} {call.path}: {answer.status_code} {answer.text[:300]}")
            body = answer.content
            missing = [text for text in (*FULL.texts, FULL.wished) if text.encode() not in body]
            slate = answer.json()
            if missing or slate["model_version"] != site.version:
                raise DuosceneError(f"{call.path}: the slate has no {missing or site.version}: {answer.text[:300]}")
            if len(slates) < CHECKED:
                slates.append(tuple(item["item_id"] for item in slate["items"]))
    if len(set(slates)) < 0.9 * len(slates):
        raise DuosceneError(f"{len(slates)} users got only {len(set(slates))} different slates: they are not personal")
    return body


def measure(
    site: Site, service: Service, calls: Sequence[Call], plan: Plan, cores: Cores, *, rate: float = 0.0, expected: Expected = FULL
) -> Measured:  # fmt: skip
    pids = service.pids
    before = cpu_seconds(pids)
    load = run_wrk(
        service.url, calls, expected, connections=plan.connections, seconds=plan.seconds, core=cores.load, rate=rate,
        headers=json_headers(site),
    )  # fmt: skip
    return Measured(load, 1e3 * (cpu_seconds(pids) - before) / load.requests)


def json_headers(site: Site) -> dict[str, str]:
    return {**site.headers, "Content-Type": "application/json"}


def against(
    site: Site, bare: Service, service: Service, calls: Sequence[Call], plan: Plan, cores: Cores
) -> dict[str, Json]:  # fmt: skip
    """Figures of a service beside the bare route."""
    rounds = [
        (
            measure(site, bare, slate_calls(site), plan, cores, expected=Expected()),
            measure(site, service, calls, plan, cores),
        )
        for _ in range(plan.rounds)
    ]
    reference, ours = by_median(rounds)
    loaded = measure(site, service, calls, plan, cores, rate=LOADED * ours.load.rate)
    return {
        "rate_per_s": round(ours.load.rate, 1),
        "p50_ms": ours.load.p50_ms,
        "p99_ms": ours.load.p99_ms,
        "cpu_ms": round(ours.cpu_ms, 3),
        "bare_rate_per_s": round(reference.load.rate, 1),
        "bare_cpu_ms": round(reference.cpu_ms, 3),
        "ratio": round(ours.load.rate / reference.load.rate, 4),
        "cpu_ratio": round(reference.cpu_ms / ours.cpu_ms, 4) if ours.cpu_ms else None,
        "degraded_share": round(
            (ours.load.lacking + loaded.load.lacking) / (ours.load.requests + loaded.load.requests), 5
        ),
        "p99_ms_at_80_percent": loaded.load.p99_ms,
        "p50_ms_at_80_percent": loaded.load.p50_ms,
        "rate_at_80_percent": round(loaded.load.rate, 1),
    }


def beside(
    site: Site, service: Service, reference: Sequence[Call], calls: Sequence[Call], plan: Plan, cores: Cores
) -> dict[str, Json]:  # fmt: skip
    """Figures of some calls beside others to the same service."""
    rounds = [
        (measure(site, service, reference, plan, cores), measure(site, service, calls, plan, cores))
        for _ in range(plan.rounds)
    ]
    one, other = by_median(rounds)
    return {
        "rate_per_s": round(other.load.rate, 1),
        "p99_ms": other.load.p99_ms,
        "degraded_share": round(other.load.lacking / other.load.requests, 5),
        "cpu_ms": round(other.cpu_ms, 3),
        "reference_rate_per_s": round(one.load.rate, 1),
        "reference_cpu_ms": round(one.cpu_ms, 3),
        "ratio": round(other.load.rate / one.load.rate, 4),
        "cpu_ratio": round(one.cpu_ms / other.cpu_ms, 4) if other.cpu_ms else None,
    }


def by_median(rounds: Sequence[tuple[Measured, Measured]]) -> tuple[Measured, Measured]:
    """The pair whose ratio of rates is the (lower) median."""
    ratios = [ours.load.rate / reference.load.rate for reference, ours in rounds]
    return rounds[ratios.index(statistics.median_low(ratios))]
