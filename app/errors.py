"""The one exception tree. Only `app.api` turns it into HTTP.

    DuosceneError
    ├── NotFound            404  item_not_found, user_not_found, scenario_not_found, job_not_found, model_not_found, …
    ├── Conflict            409  job_running, gate_rejected, job_finished, no_earlier_version, artifact_broken, …
    ├── Gone                410  cursor_expired
    ├── Invalid             422  filter_unknown_field, filter_bad_value, …   (has a loc)
    ├── Unavailable         503  store_unavailable, backlog_full   (has retry_after_seconds)
    ├── BadSettings              at start only
    ├── BadData                  import: a file cannot be read at all
    ├── Unwritable               a file or folder to write cannot be written
    ├── BadArtifact              a model directory is incomplete, altered or of another format
    └── Cancelled                long work was told to stop

A message says what, which value, and what to do next; it never carries SQL, a path or profile text, because `Not found`
to `Unavailable` are shown to callers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from app.types import Json


class DuosceneError(Exception):
    code = "internal_error"

    def __init__(self, detail: str, *, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        if code is not None:
            self.code = code


class NotFound(DuosceneError):
    code = "not_found"


class Conflict(DuosceneError):
    """members: extra members of the problem document, e.g. {"job_id": "…"}."""

    code = "conflict"

    def __init__(self, detail: str, *, code: str | None = None, members: dict[str, Json] | None = None) -> None:
        super().__init__(detail, code=code)
        self.members = members or {}


class Gone(DuosceneError):
    code = "gone"


class Invalid(DuosceneError):
    """loc: where in the request, e.g. ("filter", "and", 0, "lt")."""

    code = "invalid"

    def __init__(self, detail: str, *, code: str | None = None, loc: Sequence[str | int] = ()) -> None:
        super().__init__(detail, code=code)
        self.loc = tuple(loc)


class Unavailable(DuosceneError):
    code = "unavailable"

    def __init__(self, detail: str, *, code: str | None = None, retry_after_seconds: int = 1) -> None:
        super().__init__(detail, code=code)
        self.retry_after_seconds = retry_after_seconds


class BadSettings(DuosceneError):
    code = "bad_settings"


class BadData(DuosceneError):
    code = "bad_data"


class Unwritable(DuosceneError):
    code = "unwritable"


class BadArtifact(DuosceneError):
    code = "bad_artifact"


class Cancelled(DuosceneError):
    code = "cancelled"


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raises Unwritable for what the disk does not take; a lost connection is another matter."""
    try:
        yield
    except OSError as error:
        if isinstance(error, ConnectionError | TimeoutError):
            raise
        raise Unwritable(
            f"{path} cannot be written: {error.strerror or error}; check rights and free room, or name another place"
        ) from error
