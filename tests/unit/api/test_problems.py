import json

import pytest

from app.api.problems import MAX_ERRORS, FieldError, HttpProblem, problem_of, unprocessable
from app.errors import BadArtifact, Conflict, DuosceneError, Gone, Invalid, NotFound, Unavailable


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (NotFound("no item 'x'", code="item_not_found"), 404, "item_not_found"),
        (Conflict("a job is running", code="job_running", members={"job_id": "j1"}), 409, "job_running"),
        (Gone("the 30 minutes are over", code="cursor_expired"), 410, "cursor_expired"),
        (Invalid("bad", code="filter_bad_value", loc=("filter", "lt")), 422, "filter_bad_value"),
        (Unavailable("no database", code="store_unavailable", retry_after_seconds=3), 503, "store_unavailable"),
        (BadArtifact("/srv/models/x is incomplete"), 500, "internal_error"),
    ],
)
def test_the_exception_tree_as_problems(error: DuosceneError, status: int, code: str) -> None:
    response = problem_of(error).response()
    document = json.loads(bytes(response.body))
    assert response.media_type == "application/problem+json"
    assert (response.status_code, document["status"], document["code"]) == (status, status, code)
    assert document["type"] == f"urn:duoscene:problem:{code}"
    assert document["title"]


def test_members_headers_and_places_are_kept() -> None:
    conflict = json.loads(bytes(problem_of(Conflict("x", members={"job_id": "j1"})).response().body))
    assert conflict["job_id"] == "j1"
    assert problem_of(Unavailable("x", retry_after_seconds=0)).response().headers["retry-after"] == "1"
    invalid = json.loads(bytes(problem_of(Invalid("x", code="c", loc=("filter", "and", 0))).response().body))
    assert invalid["errors"] == [{"loc": ["filter", "and", 0], "code": "c", "detail": "x"}]


def test_what_is_our_fault_says_nothing_of_the_inside() -> None:
    assert b"/srv" not in bytes(problem_of(BadArtifact("/srv/models/x is incomplete")).response().body)


def test_a_long_list_of_errors_is_cut() -> None:
    problem = unprocessable([FieldError((f"f{i}",), "unknown_field", "no such field") for i in range(10_000)])
    document = json.loads(bytes(problem.response().body))
    assert len(document["errors"]) == MAX_ERRORS
    assert "9999 more" in document["detail"]


def test_lone_surrogates_of_the_caller_do_not_break_the_answer() -> None:
    response = HttpProblem(422, "x", "about '\ud800'", [FieldError(("\udc00",), "c", "d")]).response()
    document = json.loads(bytes(response.body))
    assert document["detail"] == "about '\\ud800'"
    assert document["errors"][0]["loc"] == ["\\udc00"]
