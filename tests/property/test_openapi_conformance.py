"""The service answers as its OpenAPI document says, whatever schemathesis makes up. Bounded: about a minute."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, assume, settings
from requests import Request
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app.main import create_app
from tests.conftest import Servers
from tests.integration.http.conftest import ADMIN_KEY, Service, run_service

MAX_URL_CHARS = 60_000  # the server itself answers longer ones, in plain text
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def own_service(
    servers: Servers, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    with run_service(servers, template_database, tmp_path_factory.mktemp("conformance")) as service:
        yield service


@schemathesis.serializer("application/x-ndjson")
def ndjson(_: schemathesis.SerializationContext, value: object) -> bytes:
    lines = value if isinstance(value, str) else json.dumps(value)
    return lines.encode("utf-8", "surrogatepass")


schema = schemathesis.openapi.from_dict(create_app().openapi())


@schema.parametrize()
@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_the_service_keeps_to_its_document(case: schemathesis.Case, own_service: Service) -> None:
    url = Request("GET", own_service.url + case.formatted_path, params=case.query or {}).prepare().url or ""
    assume(len(url) < MAX_URL_CHARS)
    case.call_and_validate(base_url=own_service.url, headers={"Authorization": f"Bearer {ADMIN_KEY}"}, checks=CHECKS)
