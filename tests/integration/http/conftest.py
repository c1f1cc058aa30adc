"""The service as a process of its own, over real PostgreSQL and Redis, without a model."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from tests.conftest import Servers, database_named, run_sql

REDIS_NUMBERS = itertools.cycle(range(1, 16))  # of a server's 16; 0 is that of the `redis_url` fixture
ADMIN_KEY = "an-admin-key-for-these-tests"
REPOSITORY = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Service:
    url: str
    log: Path
    process: subprocess.Popen[bytes]

    def client(self, key: str | None = ADMIN_KEY) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)


def redis_numbered(redis_url: str, number: int) -> str:
    return f"{redis_url}{'&' if '?' in redis_url else '?'}db={number}"


@contextlib.contextmanager
def run_service(servers: Servers, template_database: str, folder: Path) -> Iterator[Service]:
    """A service with a database of its own in either store: what two shops announce in one Redis confuses both."""
    redis_url = redis_numbered(servers.redis_url, next(REDIS_NUMBERS))
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    name = f"duoscene_http_{uuid.uuid4().hex[:12]}"
    run_sql(servers.database_url, f'CREATE DATABASE "{name}" TEMPLATE "{template_database}"')
    with start_service(database_named(servers.database_url, name), redis_url, folder) as service:
        yield service
    run_sql(servers.database_url, f'DROP DATABASE "{name}" WITH (FORCE)')


@contextlib.contextmanager
def start_service(database_url: str, redis_url: str, folder: Path, **more: str) -> Iterator[Service]:
    """more: settings, by the names of their variables."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "DUOSCENE_DATABASE_URL": database_url,
        "DUOSCENE_REDIS_URL": redis_url,
        "DUOSCENE_DATA_DIR": str(folder),
        "DUOSCENE_ADMIN_KEY": ADMIN_KEY,
        "DUOSCENE_LOG_FORMAT": "json",
        "DUOSCENE_EVENT_TYPES": '{"bookmark": 1.5}',
        **more,
    }
    log = folder / "service.log"
    # connections wait in the socket's queue until the process is up, so nobody needs to poll
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener, log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "app.api_process", str(listener.fileno())],
            env=environment, cwd=folder, stderr=stderr, pass_fds=[listener.fileno()],
        )  # fmt: skip
        port = listener.getsockname()[1]
    try:
        yield Service(f"http://127.0.0.1:{port}", log, process)
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="session")
def service(servers: Servers, template_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Shared by all tests here: each takes ids of its own."""
    with run_service(servers, template_database, tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture(scope="session")
def admin(service: Service) -> Iterator[httpx.Client]:
    with service.client() as client:
        yield client


@pytest.fixture
def new_id() -> str:
    return uuid.uuid4().hex


def is_problem(response: httpx.Response, status: int, code: str | None = None) -> dict[str, Any]:
    """Asserts a problem document and returns it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-request-id"]
    document: dict[str, Any] = response.json()
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    assert document["type"] == f"urn:duoscene:problem:{document['code']}"
    if code is not None:
        found = {document["code"], *(error["code"] for error in document.get("errors", ()))}
        assert code in found, document
    return document
