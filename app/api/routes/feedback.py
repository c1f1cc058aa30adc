"""/v1/feedback. Hot: a single event is the common case."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import Response

from app.api.auth import services_of
from app.api.bulk import ndjson_schema
from app.api.json_body import BULK_LIMIT, JSON, NDJSON, expect_media_type, read_json
from app.api.lean import LeanRoute
from app.api.operation import STORE_ERRORS, operation
from app.api.parameters import EventId
from app.api.problems import FieldError, unprocessable
from app.api.replies import no_content, reply_raw
from app.api.rows import check_rows, read_ndjson, rejection, validate_rows
from app.api.schemas.feedback import EventBody, EventList, FeedbackResult, RejectedRow
from app.api.validation import field_errors
from app.errors import NotFound
from app.feedback.event import API_EVENT_TYPES, Event
from app.ids import new_ulids
from app.observability import metrics
from app.types import utc_now

router = APIRouter(prefix="/v1/feedback", tags=["feedback"], route_class=LeanRoute)
FEEDBACK_BODIES = {JSON: (EventBody, EventList), NDJSON: ndjson_schema(EventBody)}


@router.post(
    "",
    **operation(
        "send_feedback", "Send what shoppers did", scope="feedback", returns=FeedbackResult, status=202,
        bodies=FEEDBACK_BODIES, errors={503: ("store_unavailable", "backlog_full")},
    ),
)  # fmt: skip
async def send_feedback(request: Request) -> Response:
    """One event, or up to 1,000 in `events`, or NDJSON with one event a line. 202 means durable: the accepted events
    survive the crash of any process, and the next slate of the shopper reflects them. In a list each row stands alone;
    a bad event sent bare is a 422."""
    types = (*API_EVENT_TYPES, *services_of(request).settings.event_types)
    now = utc_now()
    if expect_media_type(request, JSON, NDJSON) == NDJSON:
        events, rejected = good_events(await read_ndjson(request), types, now)
    else:
        events, rejected = events_of(await read_json(request, BULK_LIMIT, JSON), types, now)
    new_ids = await services_of(request).intake.submit(events) if events else set()
    accepted, duplicates = len(new_ids), len(events) - len(new_ids)
    metrics.record_events(accepted=accepted, duplicates=duplicates, rejected=len(rejected))
    document = {
        "accepted": accepted,
        "duplicates": duplicates,
        "rejected": [row.model_dump() for row in rejected],
        "event_ids": [event.event_id for event in events],
    }
    return reply_raw(document, 202)


@router.delete(
    "/{event_id}",
    **operation(
        "retract_feedback", "Take back one event", scope="feedback", status=204,
        errors={404: ("event_not_found",), **STORE_ERRORS},
    ),
)  # fmt: skip
async def retract_feedback(request: Request, event_id: EventId) -> Response:
    """Its effect on the live state goes as well. The id stays taken: sent again, it is a duplicate."""
    if not await services_of(request).intake.retract(event_id):
        raise NotFound(f"there is no event {event_id[:100]!r}, or it was taken back already", code="event_not_found")
    return no_content()


def events_of(value: Any, types: Collection[str], now: datetime) -> tuple[list[Event], list[RejectedRow]]:
    """The events of a JSON body, bare or in the envelope. Raises 422 for a bad envelope or a bad bare event."""
    if isinstance(value, dict) and "events" in value:
        unknown = [
            FieldError((name,), "unknown_field", "no such field beside events") for name in value.keys() - {"events"}
        ]
        if unknown:
            raise unprocessable(unknown)
        return good_events(check_rows(value["events"], ("events",)), types, now)
    try:
        body = EventBody.model_validate(value)
    except ValidationError as error:
        raise unprocessable(field_errors(error.errors(include_url=False))) from error
    fault = body.check(types, now)
    if fault is not None:
        raise unprocessable([fault])
    return [body.to_event(now, *new_ulids(1))], []


def good_events(rows: Sequence[Any], types: Collection[str], now: datetime) -> tuple[list[Event], list[RejectedRow]]:
    bodies, rejected = validate_rows(EventBody, rows)
    events: list[Event] = []
    for (index, body), new_id in zip(bodies, new_ulids(len(bodies)), strict=True):
        fault = body.check(types, now)
        if fault is None:
            events.append(body.to_event(now, new_id))
        else:
            rejected.append(rejection(index, [fault]))
    return events, sorted(rejected, key=lambda row: row.index)
