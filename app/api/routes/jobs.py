"""/v1/admin/retrain and /v1/admin/jobs"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from app.api.auth import services_of
from app.api.cursors import cut_page, decode_cursor
from app.api.json_body import JsonBody
from app.api.operation import STORE_ERRORS, json_of, operation
from app.api.parameters import JobId, Page
from app.api.replies import reply
from app.api.schemas.admin import JobList, JobStarted, JobView, RetrainBody
from app.errors import NotFound

router = APIRouter(prefix="/v1/admin", tags=["training"])
ABSENT = {404: ("job_not_found",), **STORE_ERRORS}


@router.post(
    "/retrain",
    **operation(
        "start_retrain", "Start a retraining job", scope="admin", returns=JobStarted, status=202,
        bodies=json_of(RetrainBody), errors={409: ("job_running",), **STORE_ERRORS},
    ),
)  # fmt: skip
async def start_retrain(request: Request, body: Annotated[RetrainBody, Depends(JsonBody(RetrainBody))]) -> Response:
    """One at a time: while one is queued or running, 409 with its `job_id`. The gate decides whether the new model
    goes live."""
    job = await services_of(request).jobs.create(body.mode, reason=body.reason)
    return reply(JobStarted(job_id=job.job_id), 202, {"Location": f"/v1/admin/jobs/{job.job_id}"})


@router.get("/jobs", **operation("list_jobs", "List jobs, newest first", scope="admin", returns=JobList))
async def list_jobs(request: Request, page: Page) -> Response:
    rows = await services_of(request).jobs.list_jobs(after=decode_cursor(page.cursor), limit=page.limit + 1)
    jobs, next_cursor = cut_page(rows, page.limit, lambda job: job.job_id)
    return reply(JobList(jobs=[JobView.model_validate(job) for job in jobs], next_cursor=next_cursor))


@router.get("/jobs/{job_id}", **operation("get_job", "Read a job", scope="admin", returns=JobView, errors=ABSENT))
async def get_job(request: Request, job_id: JobId) -> Response:
    job = await services_of(request).jobs.get(job_id)
    if job is None:
        raise NotFound(f"there is no job {job_id[:100]!r}", code="job_not_found")
    return reply(JobView.model_validate(job))


@router.post(
    "/jobs/{job_id}/cancel",
    **operation(
        "cancel_job", "Cancel a job", scope="admin", returns=JobView, status=202,
        errors={409: ("job_finished",), **ABSENT},
    ),
)  # fmt: skip
async def cancel_job(request: Request, job_id: JobId) -> Response:
    """A queued job is cancelled at once, a running one within seconds; the live model is untouched."""
    return reply(JobView.model_validate(await services_of(request).jobs.request_cancel(job_id)), 202)
