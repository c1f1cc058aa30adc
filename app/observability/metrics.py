"""What Prometheus sees. Several worker processes answer as one where PROMETHEUS_MULTIPROC_DIR is set before start."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from typing import TypeVar

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess
from prometheus_client.exposition import CONTENT_TYPE_LATEST

MULTIPROC_DIR = "PROMETHEUS_MULTIPROC_DIR"
MEDIA_TYPE: str = CONTENT_TYPE_LATEST
M = TypeVar("M", Counter, Histogram)
BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_REQUESTS = Counter("duoscene_requests", "HTTP requests answered", ["method", "route", "status"])
_SECONDS = Histogram(
    "duoscene_request_seconds", "Time to answer a request", ["method", "route"], buckets=BUCKETS_SECONDS
)
_EVENTS = Counter("duoscene_events", "Events received", ["result"])
_SLATES = Counter("duoscene_slates", "Slates served", ["scenario"])
_FALLBACKS = Counter("duoscene_slate_fallbacks", "Slates that a fallback step helped to fill", ["scenario", "fallback"])
_DEGRADED = Counter("duoscene_slates_degraded", "Slates served without a dependency", ["dependency"])
_IMPRESSIONS_DROPPED = Counter("duoscene_impressions_dropped", "Impressions that could not be recorded")
_BRIDGED = Counter("duoscene_events_bridged", "Events accepted into Redis while the database was away")
_MODEL = Gauge(
    "duoscene_model_live", "1 for the model version being served", ["version"], multiprocess_mode="mostrecent"
)

_served_version: str | None = None


@cache
def labelled(metric: M, *values: object) -> M:
    """The library finds it by a lock and a new tuple of texts, each time."""
    return metric.labels(*values)


def record_request(method: str, route: str, status: int, seconds: float) -> None:
    labelled(_REQUESTS, method, route, status).inc()
    labelled(_SECONDS, method, route).observe(seconds)


def record_events(*, accepted: int, duplicates: int, rejected: int) -> None:
    for result, count in (("accepted", accepted), ("duplicate", duplicates), ("rejected", rejected)):
        if count:
            _EVENTS.labels(result).inc(count)


def record_slate(scenario: str, version: str | None, fallbacks: Iterable[str], degraded: Iterable[str]) -> None:
    labelled(_SLATES, scenario).inc()
    for step in fallbacks:
        _FALLBACKS.labels(scenario, step).inc()
    for dependency in degraded:
        _DEGRADED.labels(dependency).inc()
    record_model(version)


def record_model(version: str | None) -> None:
    """The version this process serves from now on; None: it serves without one."""
    global _served_version
    if version == _served_version:
        return
    if _served_version is not None:
        _MODEL.labels(_served_version).set(0)
    if version is not None:
        _MODEL.labels(version).set(1)
    _served_version = version


def record_dropped_impressions(count: int = 1) -> None:
    _IMPRESSIONS_DROPPED.inc(count)


def record_bridged(count: int) -> None:
    _BRIDGED.inc(count)


def exposition() -> bytes:
    """The answer to a scrape, for all worker processes together."""
    if MULTIPROC_DIR not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
