"""Slates under load beside the bare route, as one core of the API gives them.

A measurement takes rounds in turn, reference and service, because a machine does not stay as fast as it was; what counts is the round
with the median ratio.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from urllib.parse import urlencode

import httpx
import orjson

from app.benchmarks.cores import Cores
from app.benchmarks.proc import cpu_seconds
from app.benchmarks.shop import RARE
from app.benchmarks.site import Service, Site
from app.benchmarks.wrk import NEW_ID, Call, Expected, Load, run_wrk
from app.errors import DuosceneError
from app.types import Json

SLATE = 20
CHECKED = 50  # users whose slates must differ
ATTEMPTS, PAUSE_SECONDS = 20, 0.1  # together longer than a service leaves Redis alone after a late answer
LOADED = 0.8  # of the rate reached: where the latency is measured
FULL = Expected(200, (f'"position":{SLATE},',), wished='"degraded":[]')
PATH = "/v1/recommendations"


@dataclass(frozen=True, slots=True)
class Plan:
    """seconds: of one load. rounds: of each measurement."""

    seconds: float = 10.0
    rounds: int = 3
    connections: int = 32


@dataclass(frozen=True)
class Target:
    """What is loaded with what. expected: of every reply."""

    site: Site
    service: Service
    calls: Sequence[Call]
    expected: Expected = FULL


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


def stranger_calls() -> list[Call]:
    """A user and a session that nobody knows, others in every request."""
    asked = {"scenario": "home", "user_id": f"u-{NEW_ID}", "session_id": f"s-{NEW_ID}", "n": SLATE}
    return [Call("GET", f"{PATH}?{urlencode(asked)}")]


def posted(body: Mapping[str, object]) -> Call:
    return Call("POST", PATH, orjson.dumps(body).decode())


def warm_up(site: Site, service: Service, calls: Sequence[Call]) -> bytes:
    """Every call once, each reply checked; the body of one. Raises DuosceneError when a slate is not full, not from the model, or
    not made for its user."""
    slates: list[list[str]] = []
    body = b""
    for body in ask(site, service, calls):
        if len(slates) < CHECKED:
            slates.append([item["item_id"] for item in orjson.loads(body)["items"]])
    different = len(set(map(tuple, slates)))
    if different < 0.9 * len(slates):
        raise DuosceneError(f"{len(slates)} users got only {different} different slates: they are not personal")
    return body


def ask(site: Site, service: Service, calls: Iterable[Call]) -> Iterator[bytes]:
    """Replies, one after the other. Raises DuosceneError for a slate that is not full or not from the model."""
    with httpx.Client(base_url=service.url, headers=json_headers(site), trust_env=False, timeout=60) as client:
        for call in calls:
            body = _whole_slate(client, call)
            version = orjson.loads(body)["model_version"]
            if version != site.version:
                raise DuosceneError(f"{call.path}: the slate is of model {version}, not {site.version}")
            yield body


def _whole_slate(client: httpx.Client, call: Call) -> bytes:
    """A degraded one is asked for again: on a busy machine a store may answer late, but not always."""
    for _ in range(ATTEMPTS):
        answer = client.request(call.method, call.path, content=call.body or None)
        missing = [text for text in FULL.texts if text.encode() not in answer.content]
        if answer.status_code != FULL.status or missing:
            raise DuosceneError(
                f"{call.method} {call.path}: {answer.status_code}, without {missing}: {answer.text[:300]}"
            )
        if FULL.wished.encode() in answer.content:
            return answer.content
        time.sleep(PAUSE_SECONDS)
    raise DuosceneError(f"{call.path}: {ATTEMPTS} slates in a row were made without the shopper's state")


def json_headers(site: Site) -> dict[str, str]:
    return {**site.headers, "Content-Type": "application/json"}


def bare(site: Site, service: Service) -> Target:
    """The bare route, asked what the service is asked."""
    return Target(site, service, slate_calls(site), Expected())


def measure(target: Target, plan: Plan, cores: Cores, rate: float = 0.0) -> Measured:
    pids = target.service.pids
    before = cpu_seconds(pids)
    load = run_wrk(
        target.service.url, target.calls, target.expected, connections=plan.connections, seconds=plan.seconds,
        core=cores.load, rate=rate, headers=json_headers(target.site),
    )  # fmt: skip
    return Measured(load, 1e3 * (cpu_seconds(pids) - before) / load.requests)


def compare(
    reference: Target, ours: Target, plan: Plan, cores: Cores,
    meanwhile: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext,
) -> tuple[Measured, Measured]:  # fmt: skip
    """The round whose ratio of rates is the (lower) median. meanwhile: entered around each load of ours."""
    rounds = []
    for _ in range(plan.rounds):
        one = measure(reference, plan, cores)
        with meanwhile():
            rounds.append((one, measure(ours, plan, cores)))
    ratios = [other.load.rate / one.load.rate for one, other in rounds]
    return rounds[ratios.index(statistics.median_low(ratios))]


def figures(reference: Measured, ours: Measured) -> dict[str, Json]:
    """ratio: of rates; cpu_ratio: of processor time for a request; both above 1 where ours is the faster."""
    return {
        "rate_per_s": round(ours.load.rate, 1),
        "p50_ms": ours.load.p50_ms,
        "p99_ms": ours.load.p99_ms,
        "cpu_ms": round(ours.cpu_ms, 3),
        "reference_rate_per_s": round(reference.load.rate, 1),
        "reference_cpu_ms": round(reference.cpu_ms, 3),
        "ratio": round(ours.load.rate / reference.load.rate, 4),
        "cpu_ratio": round(reference.cpu_ms / ours.cpu_ms, 4) if ours.cpu_ms else None,
        "degraded_share": round(ours.load.lacking / ours.load.requests, 5),
    }


def at_most_of(rate: float, target: Target, plan: Plan, cores: Cores) -> dict[str, Json]:
    """Latency at LOADED of a rate."""
    load = measure(target, plan, cores, rate=LOADED * rate).load
    return {
        "p50_ms_at_80_percent": load.p50_ms,
        "p99_ms_at_80_percent": load.p99_ms,
        "rate_per_s_at_80_percent": round(load.rate, 1),
        "degraded_share_at_80_percent": round(load.lacking / load.requests, 5),
    }
