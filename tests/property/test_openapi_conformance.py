"""The service answers as its OpenAPI document says, whatever schemathesis makes up: call by call, and along the document's links.

The suite looks shortly; CONFORMANCE_EXAMPLES=100 looks longer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, settings
from requests import Request
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.config import (
    ChecksConfig,
    PositiveDataAcceptanceConfig,
    ProjectConfig,
    ProjectsConfig,
    SchemathesisConfig,
)
from schemathesis.specs.openapi.checks import negative_data_rejection

from app.main import create_app
from tests.conftest import Servers
from tests.integration.http.conftest import ADMIN_KEY, Service, run_service

MAX_URL_CHARS = 60_000  # the server itself answers longer ones, in plain text
EXAMPLES = int(os.environ.get("CONFORMANCE_EXAMPLES", "6"))
STORIES = max(EXAMPLES * 2, 10)
BULK = (
    "send_feedback",
    "bulk_upsert_items",
    "bulk_upsert_users",
)  # a bad row is reported in the answer, and is no bad request
load_all_checks()
ALL_CHECKS = CHECKS.get_all()
CHECKS_OF_BULK = [check for check in ALL_CHECKS if check is not negative_data_rejection]


@pytest.fixture(scope="module")
def own_service(
    servers: Servers, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    with run_service(servers, template_database, tmp_path_factory.mktemp("conformance")) as service:
        with service.client() as client:
            assert (
                client.get("/healthz").status_code == 200
            )  # schemathesis itself waits for a start no longer than for any answer
        yield service


@schemathesis.serializer("application/x-ndjson")
def ndjson(_: schemathesis.SerializationContext, value: object) -> bytes:
    lines = value if isinstance(value, str) else json.dumps(value)
    return lines.encode("utf-8", "surrogatepass")


# A document cannot say all: a name that no scenario has, a cursor of another list, NUL in free text, two fields that exclude each other.
ANSWERS_TO_FITTING_DATA = ["2xx", "401", "403", "404", "409", "410", "422", "5xx"]
schema = schemathesis.openapi.from_dict(
    create_app().openapi(),
    config=SchemathesisConfig(
        projects=ProjectsConfig(
            default=ProjectConfig(
                checks=ChecksConfig(
                    positive_data_acceptance=PositiveDataAcceptanceConfig(expected_statuses=ANSWERS_TO_FITTING_DATA)
                )
            )
        )
    ),
)


def checks_of(case: schemathesis.Case) -> list[Any]:
    return CHECKS_OF_BULK if case.operation.definition.raw["operationId"] in BULK else ALL_CHECKS


@schema.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_the_service_keeps_to_its_document(case: schemathesis.Case, own_service: Service) -> None:
    url = Request("GET", own_service.url + case.formatted_path, params=case.query or {}).prepare().url or ""
    assume(len(url) < MAX_URL_CHARS)
    case.call_and_validate(
        base_url=own_service.url, headers={"Authorization": f"Bearer {ADMIN_KEY}"}, checks=checks_of(case)
    )


def test_the_service_keeps_to_its_document_along_the_links(own_service: Service) -> None:
    class Story(schema.as_state_machine()):  # type: ignore[misc]
        def get_call_kwargs(self, case: schemathesis.Case) -> dict[str, Any]:
            return {"base_url": own_service.url, "headers": {"Authorization": f"Bearer {ADMIN_KEY}"}}

        def validate_response(self, response: Any, case: schemathesis.Case, *_: Any, **kwargs: Any) -> None:
            case.validate_response(response, checks_of(case), transport_kwargs=kwargs, recorder=self.recorder)

    Story.run(
        settings=settings(
            max_examples=STORIES, stateful_step_count=8, deadline=None, derandomize=True, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
    )  # fmt: skip
